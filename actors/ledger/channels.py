"""The names under which one member's Consensus writes to another's, which the wire of both knows."""

RAFT_CHANNEL, CERTIFICATE_CHANNEL, CLOCK_CHANNEL = "raft", "certificate", "clock"
CHANGE_METHOD, PROGRESS_METHOD, FUNCTION_METHOD = "change_member", "progress", "try_function"
