"""Makes closed.json: answers to questions with lettered choices, read by the grammar below.

    python3 closed.py > closed.json

`released` is how M3D, Med3DVLM and Med-2E3 judge: the letter with a point occurs anywhere. `read` is the strict reading that
`closed.rs` documents, written here with regular expressions.
"""

import json
import re

ORGANS = ["spine", "heart", "lung", "brain"]
PLANES = ["axial", "coronal", "sagittal", None]
YES = ["Yes", "No", None, None]
FINDINGS = ["A nodule", "A. nodule", "B. cereus sepsis", "No finding"]
TWICE = ["left", "Left.", "right", None]
MARKED = ["Stra\u00dfe", "\u0391\u03a3", "3  cm", "\"quoted\""]

ANSWERS = [
    # A letter, and what ends it.
    *((ORGANS, "A", text) for text in [
        "A", "a", "A.", "A. spine", "a. spine", "A) spine", "(A) spine", "[A] spine", "A: spine", "A, spine", "A* spine",
        "**A** spine", "'A' spine", "A\" spine", "{A. spine", "A - spine", "A : spine", "A . spine", "A\n. spine", "A.spine",
        "A spine", "A  Spine.", "A\tspine", "A \u2013 spine", "A; spine", "A/ spine", "A} spine", "\u001cA. spine", "A\u00a0. x",
        "\u00c4. spine", "AA. spine", "A", " A ", "\"\"A.", "(((A)))",
    ]),
    # Words before it.
    *((ORGANS, "B", text) for text in [
        "Answer: B", "answer B", "The answer is B.", "The correct answer is: (B) heart", "the  correct\toption is\nB", "Option B",
        "Choice: B", "choice is B. heart", "correct choice B", "The B", "Correct: B", "Answer B is right", "Answers: B", "Answer is",
        "optional", "THE ANSWER IS B", "My answer is B.", "The answer: is B", "answer : : B", "Answer B heart", "answer isB",
    ]),
    # No letter, or the text of a choice.
    *((ORGANS, "C", text) for text in [
        "", " ", "...", "lung", "Lung.", "*lung*", "'lung'", "lung..", "lung .", "the lung", "lungs", "heart or lung", "C and D",
        "Both C. and D.", "C. lung D. brain", "D. brain, not C.", "It is C.", "vitamin C.", "E. liver", "C.C.", "c.d.", "CD.",
        "A large lung", "\uff23. lung", "\u0421. lung",
    ]),
    # Choices that are not there, or that begin as a letter does.
    *((PLANES, "B", text) for text in ["D", "D. none", "B. coronal", "CORONAL", "A. axial B. coronal", "axial D."]),
    *((YES, "B", text) for text in ["No", "no.", "No, B.", "C", "B", "Yes"]),
    *((FINDINGS, "A", text) for text in [
        "A nodule", "A. nodule", "A. A nodule", "a NODULE", "A", "B. cereus sepsis", "C. B. cereus sepsis", "No finding", "A find",
    ]),
    *((TWICE, "A", text) for text in ["left", "A. left", "A left", "right", "Right..", "b"]),
    *((MARKED, "A", text) for text in ["strasse", "STRASSE", "\u03b1\u03c2", "3 cm", "3\n cm.", "quoted", "'quoted'", "D"]),
]

PREAMBLE = re.compile(r"(?:the\s+)?(?:correct\s+)?(?:answer|option|choice)(?:\s+is)?\s*:?\s*", re.I)
MARKS = " \t\n\r\"'*([{"


def normal(text):
    return re.sub(r"\s+", " ", text.strip().strip("\"'*").rstrip(".").strip()).casefold()


def read(prediction, choices):
    offered = {letter: text for letter, text in zip("ABCD", choices) if text is not None}
    whole = [letter for letter, text in offered.items() if normal(text) == normal(prediction)]
    if len(whole) == 1:
        return whole[0]
    text = prediction.strip().lstrip(MARKS)
    preamble = PREAMBLE.match(text)
    if preamble:
        text = text[preamble.end():].lstrip(MARKS)
    letter, rest = text[:1].upper(), text[1:]
    if not text[:1].isascii() or letter not in offered:
        return None
    ends = rest == "" or rest[0] in ".):,]*\"'" or re.match(r"\s+[.:-]", rest) or normal(rest) == normal(offered[letter])
    return letter if ends else None


def case(choices, right, prediction):
    listed = [letter for letter, text in zip("ABCD", choices) if text is not None and letter + "." in prediction]
    return {
        "choices": choices,
        "answer_choice": right,
        "prediction": prediction,
        "released": right + "." in prediction,
        "read": read(prediction, choices),
        "several": len(listed) > 1,
    }


print("[\n" + ",\n".join(json.dumps(case(*answer)) for answer in ANSWERS) + "\n]")
