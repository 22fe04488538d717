"""The spoken notice at the start of a track: that its voices are synthetic, in its own language."""

from pipeline.model import Line
from pipeline.text.pace import predict

ID = "notice"  # of its line and utterance

TEXTS = {
    "ar": "الأصوات في هذا البرنامج اصطناعية.",
    "bg": "Гласовете в тази програма са синтетични.",
    "ca": "Les veus d'aquest programa són sintètiques.",
    "cs": "Hlasy v tomto pořadu jsou umělé.",
    "da": "Stemmerne i dette program er syntetiske.",
    "de": "Die Stimmen in diesem Programm sind künstlich erzeugt.",
    "el": "Οι φωνές σε αυτό το πρόγραμμα είναι συνθετικές.",
    "en": "The voices in this programme are synthetic.",
    "es": "Las voces de este programa son sintéticas.",
    "et": "Selle saate hääled on sünteetilised.",
    "fi": "Tämän ohjelman äänet ovat synteettisiä.",
    "fr": "Les voix de ce programme sont synthétiques.",
    "hi": "इस कार्यक्रम की आवाज़ें कृत्रिम हैं।",
    "hr": "Glasovi u ovom programu su umjetni.",
    "hu": "A műsorban hallható hangok mesterségesek.",
    "id": "Suara dalam program ini adalah suara sintetis.",
    "it": "Le voci di questo programma sono sintetiche.",
    "ja": "この番組の音声は合成音声です。",
    "ko": "이 프로그램의 음성은 합성된 음성입니다.",
    "lt": "Šios programos balsai yra sintetiniai.",
    "lv": "Balsis šajā programmā ir sintētiskas.",
    "nl": "De stemmen in dit programma zijn synthetisch.",
    "no": "Stemmene i dette programmet er syntetiske.",
    "pl": "Głosy w tym programie są syntetyczne.",
    "pt": "As vozes deste programa são sintéticas.",
    "ro": "Vocile din acest program sunt sintetice.",
    "ru": "Голоса в этой программе синтезированы.",
    "sk": "Hlasy v tomto programe sú umelé.",
    "sl": "Glasovi v tem programu so umetni.",
    "sv": "Rösterna i det här programmet är syntetiska.",
    "tr": "Bu programdaki sesler yapaydır.",
    "uk": "Голоси в цій програмі синтезовані.",
    "vi": "Giọng nói trong chương trình này là giọng tổng hợp.",
    "zh": "本节目中的声音为合成语音。",
}


def line(lines: list[Line], wanted: bool | dict[str, str], language: str, tag: str) -> Line | None:
    """The notice as the first line of a script, spoken by its first speaker; None where none is wanted.

    In a script with times it begins at 0, and its window ends where the first line begins. KeyError for a language
    without a text. `tag` is the engine's name of the language.
    """
    if not wanted:
        return None
    own = wanted if isinstance(wanted, dict) else {}
    text = own.get(language) or TEXTS[language.replace("_", "-").split("-")[0].lower()]
    first = lines[0]
    timed = first.start is not None
    end = min(predict(text, tag), max(first.start or 0.0, 0.1)) if timed else None
    return Line(id=ID, place=first.place, text=text, start=0.0 if timed else None, end=end, speaker=first.speaker)
