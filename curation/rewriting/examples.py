"""A made-up example of each style's form, about a case that hardly any question is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from registry.rewriting_schema import StyleName

FIRST_STEP: Final = """\
## Step 1: Establish the timing
The 34-year-old beekeeper was stung 10 minutes before the itching began, which suggests an immediate reaction."""
_SOAP: Final = """\
## Subjective
- A 34-year-old beekeeper reports itching of the palms that began 10 minutes after a sting.

## Objective
- Urticaria on both arms; blood pressure 84/50 mmHg; bilateral wheezing.

## Assessment
- Skin, airways and circulation are involved within minutes, so this is anaphylaxis rather than a local reaction.

## Plan
- Epinephrine 0.5 mg intramuscularly into the lateral thigh without delay, because the patient is hypotensive."""

EXAMPLES: Final[Mapping[StyleName, str]] = {
    "step": f"""\
{FIRST_STEP}

## Step 2: Identify the reaction
Urticaria and a blood pressure of 84/50 mmHg show that skin and circulation are both involved, so this is anaphylaxis \
rather than a local reaction.""",
    "1-sentence": (
        "Because urticaria and a blood pressure of 84/50 mmHg followed the beekeeper's sting within 10 minutes, both "
        "skin and circulation are involved, which indicates anaphylaxis rather than a local reaction and calls for "
        "epinephrine."
    ),
    "list": """\
- The beekeeper's itching began 10 minutes after the sting.
- Urticaria and a blood pressure of 84/50 mmHg mean that both skin and circulation are involved.
- Involvement of two organ systems within minutes indicates anaphylaxis rather than a local reaction.""",
    "markdown": """\
## Key findings
| Finding | Value | Interpretation |
|---|---|---|
| Time since the beekeeper's sting | 10 minutes | immediate reaction |
| Blood pressure | 84/50 mmHg | shock |

## Interpretation
### Why this is not a local reaction
- Two organ systems are involved, so this is **anaphylaxis**.""",
    "step-evidence": """\
## Step 1: Establish the timing
The reaction to the beekeeper's sting is an immediate one.
**Evidence:** The itching began 10 minutes after the sting.

## Step 2: Identify the reaction
This is anaphylaxis rather than a local reaction, because two organ systems are involved.
**Evidence:** Urticaria on both arms together with a blood pressure of 84/50 mmHg.""",
    "note": _SOAP,
    "soap": _SOAP,
    "soapie": f"""\
{_SOAP}

## Implementation
- None mentioned.

## Evaluation
- Hypotension that persists after 5 minutes would call for a second dose.""",
    "isbar": """\
## Identification
- A 34-year-old beekeeper, seen in the emergency department.

## Situation
- Itching, urticaria and a blood pressure of 84/50 mmHg.

## Background
- The symptoms began 10 minutes after the beekeeper was stung.

## Assessment
- Two organ systems are involved within minutes, so this is anaphylaxis rather than a local reaction.

## Recommendation
- Epinephrine 0.5 mg intramuscularly into the lateral thigh without delay, because the patient is hypotensive.""",
    "pomr": """\
## Database
- A 34-year-old beekeeper, stung 10 minutes before the onset; urticaria; blood pressure 84/50 mmHg.

## Problem List
1. Hypotension
2. Urticaria after a sting

## Initial Plans
- Problem 1: epinephrine 0.5 mg intramuscularly into the lateral thigh without delay, because of the shock.

## Progress Notes
- None mentioned.

## Final Summary
- Both problems have one cause: involvement of two organ systems within minutes indicates anaphylaxis.""",
    "decision-tree": """\
Itching 10 minutes after the beekeeper's sting: is another organ system involved?
  -> No: a local reaction, which needs only cooling
  -> Yes, blood pressure 84/50 mmHg: is there another cause of shock? [taken]
    -> Yes, blood loss: look for the source of bleeding
    -> No, urticaria fits the sting: anaphylaxis, give epinephrine [taken]""",
    "qa": """\
Q: What does the time since the sting suggest?
A: The ten minutes between the beekeeper's sting and the itching suggest an immediate reaction.

Q: Why is this not a local reaction?
A: With urticaria and a blood pressure of 84/50 mmHg, two organ systems are involved, which indicates anaphylaxis.""",
    "socratic": """\
Allergist: How long after the beekeeper's sting did the itching begin?

Emergency Physician: After 10 minutes, and the blood pressure is 84/50 mmHg.

Allergist: Could a local reaction lower the blood pressure that far?

Emergency Physician: No. Two organ systems are involved, so this is anaphylaxis.""",
    "cot": """\
A beekeeper, stung, and the itching began only 10 minutes later, so this looks like an immediate reaction.
Hmm, urticaria alone could still be a large local reaction.
But wait, the blood pressure is 84/50 mmHg, and a local reaction would not cause that.
So two organ systems are involved within minutes, and that is anaphylaxis.""",
    "cot-step": """\
## Step 1: Establish the timing
The beekeeper was stung 10 minutes before the itching began, so the reaction is an immediate one.

## Step 2: Weigh a local reaction against anaphylaxis
A blood pressure of 84/50 mmHg does not fit a local reaction. Two organ systems are involved, so this is \
anaphylaxis.""",
}
