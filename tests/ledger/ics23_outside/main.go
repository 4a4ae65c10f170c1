// Judges ICS-23 proofs with the verifier of the cosmos/ics23 project under its SmtSpec.
//
// Each line of standard input is: root key value proof, in hexadecimal; a value of - asks for absence.
// Each line of standard output is true or false.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	ics23 "github.com/cosmos/ics23/go"
)

func unhex(text string) []byte {
	data, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return data
}

func accepts(root, key []byte, value string, data []byte) (accepted bool) {
	defer func() {
		if recover() != nil {
			accepted = false // the verifier panics on some malformed paths
		}
	}()
	proof := &ics23.CommitmentProof{}
	if err := proof.Unmarshal(data); err != nil {
		return false
	}
	if value == "-" {
		return ics23.VerifyNonMembership(ics23.SmtSpec, root, proof, key)
	}
	return ics23.VerifyMembership(ics23.SmtSpec, root, proof, key, unhex(value))
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		fmt.Fprintln(out, accepts(unhex(field[0]), unhex(field[1]), field[2], unhex(field[3])))
	}
}
