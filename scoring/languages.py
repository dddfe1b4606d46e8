"""How "the answer is" is said in other languages; patterns for cleaned text in lower case."""

from __future__ import annotations

import re

# The word to look for first, and the whole phrase that begins at it or a little before.
_PHRASES = (
    ("respuesta", r"respuesta(?:\s+(?:más\s+)?(?:correcta|adecuada|final))?\s*(?:es|sería|:)"),
    ("opción", r"opción\s+(?:correcta|más\s+adecuada)\s*(?:es|:)"),
    ("réponse", r"réponse(?:\s+(?:correcte|exacte|finale))?\s*(?:est|serait|:)"),
    ("reponse", r"reponse(?:\s+(?:correcte|exacte|finale))?\s*(?:est|serait|:)"),
    ("antwort", r"antwort\s*(?:ist|lautet|wäre|:)"),
    ("antwoord", r"antwoord\s*(?:is|:)"),
    ("risposta", r"risposta(?:\s+(?:corretta|giusta|esatta))?\s*(?:è|:)"),
    ("resposta", r"resposta(?:\s+(?:correta|certa|final))?\s*(?:é|:)"),
    ("alternativa", r"alternativa\s+correta\s*(?:é|:)"),
    ("odpowied", r"odpowiedź(?:\s+(?:to|jest))?\s*:?"),
    ("cevap", r"cevap\s*:?"),
    ("đáp án", r"đáp\s+án(?:\s+đúng)?\s*(?:là|:)"),
    ("ответ", r"ответ\s*(?:[:–—-])"),
    ("答案", r"答案(?:应该|應該|应|應)?\s*(?:是|为|為|选|選|:|\])"),
    ("选", r"(?<!不)(?:选择|应选|故选|选项?)\s*[是为]?\s*:?"),
    ("選", r"(?<!不)(?:選擇|應選|故選|選項?)\s*[是為]?\s*:?"),
    ("答え", r"答え\s*(?:は|:)"),
    ("正解", r"正解\s*(?:は|:)"),
    ("정답", r"정답\s*(?:은|:)"),
    ("답", r"답\s*(?:은|:)"),
    ("الإجابة", r"الإجابة(?:\s+الصحيحة)?\s*(?:هي|:)"),
    ("الجواب", r"الجواب(?:\s+الصحيح)?\s*(?:هو|:)"),
    ("उत्तर", r"उत्तर(?:\s+है)?\s*[:-]?"),
    ("উত্তর", r"উত্তর(?:\s+হল|\s+হলো)?\s*[:-]?"),
)
PHRASES: tuple[tuple[str, re.Pattern[str]], ...] = tuple((word, re.compile(phrase)) for word, phrase in _PHRASES)

FILLER = (
    r"(?:la|le|el|lo|l'|die|der|das|de|het|o|a\s+letra|letra|lettre|lettera|buchstabe|opción|option|opção|opzione|optie"
    r"|antwort|alternativa|вариант|选项|選項|选|選|選択肢|肢|보기|الخيار|विकल्प|বিকল্প)(?:\s+|(?<=['项項选選肢])|(?=\s*[(\[]))"
)
"""Words between the phrase and the option, in lower case."""

CONTINUED = "因由选選项項です是为為의입이번와가"
"""Characters of scripts without blanks that may follow a letter: "B因为", "Bです", "B입니다"; not "B型"."""
