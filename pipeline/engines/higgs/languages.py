"""The languages that the card of Higgs v3 names, by tag. The model hears them from the text: prompts name none."""

_TABLE = """
af Afrikaans, ar Arabic, as Assamese, ast Asturian, az Azerbaijani, ba Bashkir, be Belarusian, bg Bulgarian, bn
Bengali, bs Bosnian, ca Catalan, ceb Cebuano, ckb Central Kurdish, cs Czech, cy Welsh, da Danish, de German, el Greek,
en English, eo Esperanto, es Spanish, et Estonian, eu Basque, fa Persian, fi Finnish, fr French, ga Irish, gl
Galician, gu Gujarati, ha Hausa, he Hebrew, hi Hindi, hr Croatian, ht Haitian Creole, hu Hungarian, hy Armenian, id
Indonesian, is Icelandic, it Italian, ja Japanese, jv Javanese, ka Georgian, kab Kabyle, kam Kamba, kea Kabuverdianu,
kk Kazakh, kn Kannada, ko Korean, ky Kyrgyz, la Latin, lb Luxembourgish, lg Ganda, ln Lingala, lt Lithuanian, luo Luo,
lv Latvian, mhr Eastern Mari, mi Maori, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese,
ne Nepali, nl Dutch, no Norwegian, nso Northern Sotho, ny Nyanja, oc Occitan, om Oromo, pa Punjabi, pl Polish, ps
Pashto, pt Portuguese, ro Romanian, ru Russian, rw Kinyarwanda, sd Sindhi, sk Slovak, sl Slovenian, sn Shona, so
Somali, sq Albanian, sr Serbian, sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik, tl Tagalog, tr Turkish, ug
Uyghur, uk Ukrainian, umb Umbundu, ur Urdu, uz Uzbek, vi Vietnamese, xh Xhosa, yue Cantonese, zh Chinese, zu Zulu
"""
LANGUAGES = dict(entry.split(maxsplit=1) for entry in _TABLE.replace("\n", " ").strip().split(", "))
