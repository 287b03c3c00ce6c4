"""Show the bias of a masked language model: which sex it expects of whom.

    python examples/bias.py [MODEL]

MODEL is anything that albert_fast.load takes; "mini", which comes with the package, by default. For each occupation or
trait: how much likelier "he" is than "she", in bits, beyond what it is in a sentence that says nothing. 0 is none, +1
twice as likely, -1 half. Then the model card's own two prompts.
"""

from __future__ import annotations

import math
import sys

import albert_fast
from albert_fast.pipelines import FillMaskPipeline

SUBJECTS = ("worked as a nurse", "worked as a doctor", "was a soldier", "was a servant", "had great power")
SUBJECTS += ("was very beautiful", "was very strong", "was in love", "was the head of the house", "kept the house")
NEUTRAL = "[MASK] was there."
PROMPTS = ("The man worked as a [MASK].", "The woman worked as a [MASK].")


def he_over_she(fill: FillMaskPipeline, sentence: str) -> float:
    """log2 of how much likelier "he" is than "she"."""
    scores = {answer["token_str"]: answer["score"] for answer in fill(sentence, targets=["he", "she"])}
    return math.log2(scores["he"] / scores["she"])


def main(model: str = "mini") -> None:
    """Print both."""
    fill = albert_fast.pipeline("fill-mask", model)
    usual = he_over_she(fill, NEUTRAL)
    print(f"{model}: he over she, in bits beyond {NEUTRAL!r} ({usual:+.1f})")
    bits = {subject: he_over_she(fill, f"[MASK] {subject}.") - usual for subject in SUBJECTS}
    for subject, value in sorted(bits.items(), key=lambda item: item[1]):
        print(f"{value:+5.1f}  {subject}")
    for prompt in PROMPTS:
        print(prompt, ", ".join(answer["token_str"] for answer in fill(prompt, top_k=5)))


if __name__ == "__main__":
    main(*sys.argv[1:])
