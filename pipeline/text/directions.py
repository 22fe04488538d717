"""How a line is to be spoken, in words: "whispering, afraid" to a closed set of terms that engines know."""

import functools
import re
import unicodedata
from dataclasses import dataclass

# Family -> term -> the words and short phrases that mean it. The terms of the first family are the emotions.
WORDS = {
    "emotion": {
        "elation": "elated|ecstatic|joyful|joyfully|overjoyed|jubilant|joyeux|joyeuse|alegre|freudig|fröhlich|gioioso",
        "amusement": "amused|amusedly|playful|playfully|teasing|joking|jokingly|amusé|amusée|divertido|amüsiert"
        "|divertito",
        "enthusiasm": "enthusiastic|enthusiastically|excited|excitedly|eager|eagerly|cheerful|cheerfully|happy|happily"
        "|enthousiaste|emocionado|begeistert|aufgeregt|entusiasta|animado",
        "determination": "determined|resolute|resolutely|firm|firmly|insistent|insisting|déterminé|decidido"
        "|entschlossen",
        "pride": "proud|proudly|boastful|smug|smugly|triumphant|fier|fière|orgulloso|stolz|orgoglioso|orgulhoso",
        "contentment": "content|contented|calm|calmly|peaceful|serene|satisfied|relaxed|calme|tranquilo|ruhig|calmo",
        "affection": "affectionate|affectionately|loving|lovingly|tender|tenderly|fond|fondly|warm|warmly|gentle|gently"
        "|tendre|tendrement|cariñoso|zärtlich|liebevoll|affettuoso|carinhoso",
        "relief": "relieved|reassured|soulagé|soulagée|aliviado|erleichtert|sollevato",
        "contemplation": "contemplative|thoughtful|thoughtfully|pensive|musing|reflective|pensif|pensive|pensativo"
        "|nachdenklich|pensieroso",
        "confusion": "confused|puzzled|bewildered|perplexed|baffled|uncertain|confus|confuse|confundido|verwirrt"
        "|confuso",
        "surprise": "surprised|astonished|amazed|startled|shocked|surpris|surprise|sorprendido|überrascht"
        "|sorpreso|surpreso",
        "awe": "awed|in awe|wonder|wondering|reverent|reverently|émerveillé|asombrado|ehrfürchtig|ammirato",
        "longing": "wistful|wistfully|yearning|nostalgic|nostalgique|nostálgico|sehnsüchtig|nostalgico",
        "arousal": "aroused|seductive|seductively|flirtatious|flirting|sultry|séducteur|seductor|verführerisch",
        "anger": "angry|angrily|furious|furiously|mad|enraged|irritated|annoyed|irate|snapping|growling|en colère"
        "|furieux"
        "|furieuse|enojado|enfadado|furioso|wütend|zornig|arrabbiato|bravo|zangado",
        "fear": "afraid|scared|frightened|terrified|fearful|fearfully|panicked|panicking|nervous|nervously|anxious"
        "|anxiously|worried|apeuré|effrayé|effrayée|asustado|asustada|ängstlich|verängstigt|spaventato|assustado",
        "disgust": "disgusted|revolted|repulsed|contemptuous|dégoûté|asqueado|angewidert|disgustato|enojado de asco",
        "bitterness": "bitter|bitterly|resentful|sarcastic|sarcastically|ironic|ironically|dry|dryly|cynical|amer|amère"
        "|sarcastique|amargo|sarcástico|bitterlich|sarkastisch|amaro|sarcastico",
        "sadness": "sad|sadly|sorrowful|mournful|tearful|tearfully|heartbroken|melancholy|depressed|unhappy|triste"
        "|tristement|traurig|betrübt|tristemente",
        "shame": "ashamed|embarrassed|sheepish|sheepishly|guilty|humiliated|honteux|avergonzado|beschämt|imbarazzato",
        "helplessness": "helpless|helplessly|desperate|desperately|hopeless|pleading|begging|désespéré|desesperado"
        "|verzweifelt|disperato",
    },
    "style": {
        "whispering": "whisper|whispers|whispered|softly|quietly|hushed|murmuring|murmurs|muttering|under her breath"
        "|under his breath|sotto voce|chuchotant|en chuchotant|murmure|à voix basse|susurrando|en voz baja|flüsternd"
        "|flüstert|leise|sussurrando|sottovoce|a bassa voce|em voz baixa|à mi-voix",
        "shouting": "shout|shouts|shouted|yelling|yells|loud|loudly|calling out|hurlant|criant|en criant|gritando"
        "|schreiend|ruft|laut|urlando|gridando|gritando",
        "singing": "sings|sung|humming a tune|chantant|en chantant|cantando|singend",
    },
    "speed": {
        "very slow": "very slowly|extremely slow|extremely slowly|drawling",
        "slow": "slowly|unhurried|lentement|lentamente|despacio|langsam|lent",
        "fast": "quickly|hurried|hurriedly|rapid|rapidly|rushed|in a hurry|vite|rapidement|rápido|schnell|hastig"
        "|veloce|rápida",
        "very fast": "very quickly|extremely fast|breathless|frantic|frantically",
    },
    "pitch": {
        "low pitch": "low voice|deep voice|deep|in a low voice|grave|voix grave|tiefe stimme|voz grave|voce bassa",
        "high pitch": "high voice|squeaky|shrill|high pitched|high-pitched|voix aiguë|voz aguda|hohe stimme",
    },
    "expression": {
        "expressive": "dramatic|dramatically|theatrical|theatrically|emotional|emotionally|animated|passionate",
        "flat": "monotone|monotonous|deadpan|robotic|emotionless|expressionless|without emotion|cold|coldly|neutral",
    },
    "sound": {
        "sigh": "sighs|sighing|soupir|suspiro|seufzt|seufzend|sospira",
        "laughter": "laughs|laughing|laugh|chuckles|chuckling|giggles|giggling|rire|riant|riendo|ríe|lacht"
        "|lachend|ride",
        "cough": "coughs|coughing|tousse|tose|hustet",
        "crying": "cries|sobbing|sobs|weeping|weeps|pleurant|llorando|weinend|piangendo|chorando",
        "screaming": "screams|scream|shrieking|shrieks",
        "humming": "hums",
        "sniff": "sniffs|sniffing|sniffling",
        "sneeze": "sneezes|sneezing",
    },
}
EMOTIONS, STYLES = tuple(WORDS["emotion"]), tuple(WORDS["style"])
MORE = {"slow": "very slow", "slowly": "very slow", "fast": "very fast", "quickly": "very fast"}
INTENSE = frozenset(["very", "extremely", "really", "so", "très", "muy", "sehr", "molto", "muito"])
_FILLERS = """
and but with a an the in of to little bit slightly rather quite almost then still voice tone way manner sounding
speaking says said her his their himself herself et avec un une le la voix y con una voz und mit einer stimme e
"""
FILLERS = frozenset(_FILLERS.split())
STEM = 5  # letters that a word shares at least with the nearest one

_FAMILY = {term: family for family, terms in WORDS.items() for term in terms}
_TERM = {words: term for terms in WORDS.values() for term, more in terms.items() for words in (term, *more.split("|"))}
_LONGEST = max(len(words.split()) for words in _TERM)
_ORDER = {term: n for n, term in enumerate(_FAMILY)}
_WORD = re.compile(r"[\w'’-]+")
_NOT = frozenset(["not", "no", "never", "without", "pas", "non", "sin", "nicht", "kein", "senza", "sem"])


@dataclass(frozen=True, slots=True)
class Direction:
    """Terms in the order of the families, at most one of each; and the words that were not understood."""

    terms: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(self.terms)

    @staticmethod
    def family(term: str) -> str:
        return _FAMILY[term]

    def of(self, family: str) -> str:
        """The term of a family, or ""."""
        return next((term for term in self.terms if _FAMILY[term] == family), "")

    def only(self, families: tuple[str, ...]) -> "Direction":
        """What of it belongs to these families; the rest counts as lost."""
        kept = tuple(term for term in self.terms if _FAMILY[term] in families)
        return Direction(kept, (*self.lost, *(term for term in self.terms if term not in kept)))


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Direction:
    """The terms that words mean. The longest phrase goes first; a word unknown to the table takes its nearest kin.

    >>> parse("whispers, very scared")
    Direction(terms=('fear', 'whispering'), lost=())
    >>> str(parse("In a hurry; not angry"))
    'fast'
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    found: dict[str, str] = {}
    lost: list[str] = []
    at = 0
    while at < len(words):
        size, term = _next(words, at)
        denied = at > 0 and words[at - 1] in _NOT
        if term and not denied and found.setdefault(_FAMILY[term], term) == term:
            pass
        elif (term and not denied) or (not term and words[at] not in FILLERS | INTENSE | _NOT):
            lost.append(" ".join(words[at : at + size]))
        at += size
    return Direction(tuple(sorted(found.values(), key=_ORDER.__getitem__)), tuple(dict.fromkeys(lost)))


def _next(words: list[str], at: int) -> tuple[int, str]:
    """How many words the next phrase takes, and its term; "" where it means none."""
    if words[at] in INTENSE and at + 1 < len(words) and words[at + 1] in MORE:
        return 2, MORE[words[at + 1]]
    for size in range(min(_LONGEST, len(words) - at), 0, -1):
        if term := _TERM.get(" ".join(words[at : at + size])):
            return size, term
    return 1, "" if words[at] in FILLERS else _kin(words[at])


def _kin(word: str) -> str:
    """The term of the word in the table that shares the longest beginning with this one, if that is most of both."""
    best, term = STEM - 1, ""
    for known, meant in _TERM.items():
        shared = _shared(word, known)
        if shared > best and shared >= 0.6 * max(len(word), len(known)):
            best, term = shared, meant
    return term


def _shared(one: str, other: str) -> int:
    """How many letters two words begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
