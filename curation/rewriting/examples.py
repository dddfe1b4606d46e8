"""A made-up example of each style's form, about a case that hardly any question is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from registry.rewriting_schema import StyleName

_SOAP: Final = """\
## Subjective
- A beekeeper of 34 years reports itching of the palms 10 minutes after a sting.

## Objective
- Wheals on both arms; blood pressure 84/50 mmHg; wheezing on both sides.

## Assessment
- Two organ systems are affected within minutes, so this is anaphylaxis and no local reaction.

## Plan
- Adrenaline 0.5 mg into the thigh muscle at once, because the pressure is low."""

EXAMPLES: Final[Mapping[StyleName, str]] = {
    "step": """\
## Step 1: Read the timing
The beekeeper of 34 years was stung 10 minutes before the itching began, which fits an immediate reaction.

## Step 2: Name the reaction
Wheals and a blood pressure of 84/50 mmHg are two organ systems, so this is anaphylaxis and no local reaction.""",
    "1-sentence": (
        "Because wheals and a blood pressure of 84/50 mmHg followed the beekeeper's sting within 10 minutes, two organ "
        "systems are affected, which makes it anaphylaxis and no local reaction, and calls for adrenaline."
    ),
    "list": """\
- The itching of the beekeeper began 10 minutes after the sting.
- Wheals and a blood pressure of 84/50 mmHg mean that two organ systems are affected.
- Two organ systems within minutes are anaphylaxis, which a local reaction is not.""",
    "markdown": """\
## What was found
| Finding | Value | What it means |
|---|---|---|
| Time since the beekeeper's sting | 10 minutes | an immediate reaction |
| Blood pressure | 84/50 mmHg | shock |

## What follows
### Why it is no local reaction
- Two organ systems are affected, so it is **anaphylaxis**.""",
    "step-evidence": """\
## Step 1: Read the timing
The reaction to the beekeeper's sting is an immediate one.
**Evidence:** The itching began 10 minutes after the sting.

## Step 2: Name the reaction
This is anaphylaxis and no local reaction, because two organ systems are affected.
**Evidence:** Wheals on both arms together with a blood pressure of 84/50 mmHg.""",
    "note": _SOAP,
    "soap": _SOAP,
    "soapie": f"""\
{_SOAP}

## Implementation
- None mentioned.

## Evaluation
- A pressure that stays low after 5 minutes would call for a second dose.""",
    "isbar": """\
## Identification
- A beekeeper of 34 years, seen in the emergency room.

## Situation
- Itching, wheals and a blood pressure of 84/50 mmHg.

## Background
- The beekeeper was stung 10 minutes before it began.

## Assessment
- Two organ systems are affected within minutes, so this is anaphylaxis and no local reaction.

## Recommendation
- Adrenaline 0.5 mg into the thigh muscle at once, because the pressure is low.""",
    "pomr": """\
## Database
- A beekeeper of 34 years, stung 10 minutes ago; wheals; blood pressure 84/50 mmHg.

## Problem List
1. Shock
2. Wheals after a sting

## Initial Plans
- Adrenaline 0.5 mg into the thigh muscle at once for problem 1, because the pressure is low.

## Progress Notes
- None mentioned.

## Final Summary
- Both problems have one cause: two organ systems within minutes make it anaphylaxis.""",
    "decision-tree": """\
Itching 10 minutes after the beekeeper's sting: is another organ system affected?
  -> No: a local reaction, which needs cooling only
  -> Yes, blood pressure 84/50 mmHg: is there another cause of shock? [taken]
    -> Yes, blood was lost: look for the bleeding
    -> No, wheals fit the sting: anaphylaxis, give adrenaline [taken]""",
    "qa": """\
Q: What does the time since the sting tell?
A: Ten minutes between the beekeeper's sting and the itching fit an immediate reaction.

Q: Why is it no local reaction?
A: With wheals and a blood pressure of 84/50 mmHg two organ systems are affected, which is anaphylaxis.""",
    "socratic": """\
Allergologist: How long after the sting of the beekeeper did the itching begin?

Emergency Physician: After 10 minutes, and the blood pressure is 84/50 mmHg.

Allergologist: Could a local reaction lower the pressure so far?

Emergency Physician: No, two organ systems are affected, so it is anaphylaxis.""",
    "cot": """\
A beekeeper, stung, and the itching began only 10 minutes later, so this is something immediate.
Hmm, wheals alone could still be a large local reaction.
But wait, the blood pressure is 84/50 mmHg, and a local reaction would not do that.
So two organ systems are affected within minutes, and that is anaphylaxis.""",
    "cot-step": """\
## Step 1: Read the timing
The beekeeper was stung 10 minutes before the itching began, so the reaction is an immediate one.

## Step 2: Weigh a local reaction against anaphylaxis
A blood pressure of 84/50 mmHg does not fit a local reaction; two organ systems are affected, so it is anaphylaxis.""",
}
