// A button that checks a proof in the browser, and what came of each step.
import { bad, card, el } from "./dom.js";

export function proofCard(check, words) {
  // check: answers with the steps of proof.js. words: what is proven when all of them passed.
  const button = el("button", { id: "check", type: "button" }, "Check the proof in this browser"), outcome = el("div", { id: "proof", role: "status" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const steps = await check(), proven = steps.every((step) => step.passed);
      outcome.dataset.proven = proven;
      outcome.replaceChildren(
        el("p", { class: proven ? "good" : "bad" }, proven ? words : "Not proven."),
        el("ol", { class: "checks" }, ...steps.map((step) => el("li", {}, el("strong", { class: step.passed ? "good" : "bad" }, step.passed ? "✓ " : "✗ "), step.name, el("br"), el("span", { class: "soft" }, step.detail)))),
      );
    } catch (error) { outcome.replaceChildren(bad(error.message)); }
    button.disabled = false;
  });
  return card("Proof", button, outcome);
}
