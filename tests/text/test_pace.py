"""Prediction of speaking time, against the engine itself."""

import pytest

from pipeline.audio.clip import trim
from pipeline.engines.espeak import Espeak
from pipeline.model import Chunk
from pipeline.text.pace import predict

SENTENCES = {
    "en-us": "The lighthouse keeper has not seen a ship for three days, but he lights the lamp every night.",
    "fr-fr": "Le gardien du phare n'a pas vu de bateau depuis trois jours, mais il allume la lampe chaque soir.",
    "de": "Der Leuchtturmwärter hat seit drei Tagen kein Schiff gesehen, aber er zündet jeden Abend die Lampe an.",
    "es": "El guardián del faro no ha visto un barco en tres días, pero enciende la lámpara cada noche.",
    "it": "Il guardiano del faro non vede una nave da tre giorni, ma accende la lampada ogni notte.",
    "pt-br": "O guardião do farol não vê um navio há três dias, mas acende a lâmpada todas as noites.",
    "pl": "Latarnik od trzech dni nie widział żadnego statku, ale co wieczór zapala lampę.",
    "ru": "Смотритель маяка уже три дня не видел корабля, но каждый вечер зажигает лампу.",
    "tr": "Deniz feneri bekçisi üç gündür gemi görmedi ama her gece lambayı yakıyor.",
    "el": "Ο φύλακας του φάρου δεν έχει δει πλοίο εδώ και τρεις μέρες, αλλά ανάβει τη λάμπα κάθε βράδυ.",
    "ar": "لم ير حارس المنارة سفينة منذ ثلاثة أيام، لكنه يضيء المصباح كل ليلة.",
    "hi": "प्रकाशस्तंभ के रखवाले ने तीन दिन से कोई जहाज़ नहीं देखा, लेकिन वह हर रात दीपक जलाता है।",
    "cmn": "灯塔看守人三天没有看到船了，但他每天晚上都点亮灯。",
    "ko": "등대지기는 사흘 동안 배를 보지 못했지만 매일 밤 등불을 켠다.",
    "fi": "Majakanvartija ei ole nähnyt laivaa kolmeen päivään, mutta hän sytyttää lampun joka ilta.",
    "vi": "Người gác hải đăng đã ba ngày không thấy tàu, nhưng đêm nào ông cũng thắp đèn.",
    "th": "คนเฝ้าประภาคารไม่เห็นเรือมาสามวันแล้ว แต่เขาจุดตะเกียงทุกคืน",
    "ja": "とうだいもりは みっかかん ふねを みていませんが、まいばん あかりを ともします。",
    "nl": "De vuurtorenwachter heeft al drie dagen geen schip gezien, maar hij steekt elke avond de lamp aan.",
    "uk": "Доглядач маяка вже три дні не бачив корабля, але щовечора запалює лампу.",
    "he": "שומר המגדלור לא ראה אונייה כבר שלושה ימים, אבל הוא מדליק את המנורה בכל לילה.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_prediction_is_within_35_percent_of_the_engine(language: str) -> None:
    text, engine = SENTENCES[language], Espeak()
    (spoken,) = engine.speak([Chunk(key="k", text=text, language=language, voice="m1")])
    assert spoken.samples is not None
    samples, _ = trim(spoken.samples, engine.sample_rate)
    assert predict(text, language) == pytest.approx(samples.size / engine.sample_rate, rel=0.35)


def test_figures_take_longer_than_letters() -> None:
    assert predict("It is 1984.", "en") > predict("It is abcd.", "en")


def test_nothing_takes_no_time() -> None:
    assert predict("", "en") == 0


def test_a_longer_text_never_takes_less_time() -> None:
    text = "Der Zug kam um 12:30 Uhr an, wie immer: zu spät! Warum?"
    times = [predict(text[:n] + "x", "de") for n in range(len(text))]
    assert times == sorted(times)


def test_the_last_marks_cost_nothing() -> None:
    assert predict("Yes", "en") == predict("Yes...", "en") == predict("Yes!", "en")


def test_unknown_languages_go_by_their_script() -> None:
    assert predict("灯塔", "xx") == pytest.approx(0.1 + 2 * 0.23)
    assert predict("маяк", "xx") == pytest.approx(0.1 + 4 * 0.058)
