"""Which languages a text may be in, by its script, its most common words and the letters that few languages have.

A small substitute for a language detector, for the languages of IFEval and some of their neighbours. It needs no data,
gives the same answer each time, and reads capitals like small letters. It knows less than a detector: a text of a few
words without any of those below may be in every language of its script, and one in a language that is not below is
taken for the nearest that is.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

WORDS = {
    "en": "the of and to in is that it for was on are as with his they at be this have from or had by not but what all"
    " were we when your can there an which their said if do will how she you he i my our has would about me no so",
    "es": "el la los las de y que en un una es por con para su se no al del lo como más pero sus le ya o este sí"
    " porque esta entre cuando muy sin sobre también me hasta hay donde son mi yo está nos",
    "pt": "o a os as de e que do da em um uma é por com para se não ao dos das no na mais mas como sua seu ou ser"
    " quando muito nos já está eu também só pelo pela até isso ela entre você são minha meu",
    "fr": "le la les de des et que en un une est pour dans qui ne pas sur se au ce il sont plus par avec je tu nous"
    " vous mais ou du cette ces sa son leur elle être c'est d'un aux on ont mon",
    "de": "der die das und in zu den ist nicht von sie es mit dem ein eine auf für im sich des auch als an er so dass"
    " wir ich aber haben wird bei einer um noch nur wie oder war kann sind einem einen mein",
    "it": "il lo la i gli le di e che in un una è per con non del della si da al più ma come anche sono nel alla questo"
    " ci ha dei delle mi io su suo sua o ho era dal questa quando",
    "pl": "i w na z do się nie to że jest o jak po co tak za od ale są czy dla przez jego jej przy tylko był może być"
    " już który które oraz mnie ja",
    "fi": "ja on ei se että oli hän en ovat mutta kun niin kuin tai ole minä sinä myös voi jos tämä joka mitä sen hyvin"
    " nyt vain olen sitä ne me olla minun",
    "sw": "na ya wa kwa ni la katika za cha kuwa hii hiyo si yake kama pia ambayo lakini au mimi sana watu huyu wake"
    " hivyo kila wewe nini yangu ili tu",
    "vi": "và của là có không được cho một những các trong với này đã người tôi khi để ở đó như bạn rất về nhiều từ ra",
    "nl": "de het een en van in is dat op te zijn met voor niet aan er om ook als bij maar dit hij ze ik je we wordt"
    " naar door over nog deze wat geen",
    "sv": "och att det som en på är av för med den till inte har de om ett jag vi men var sig från så kan nu när eller",
    "da": "og at det som en på er af for med den til ikke har de om et jeg vi men var sig fra så kan nu når eller hvor",
    "ro": "și de în la cu că nu o un este pe pentru mai din se care sunt dar ce sau să eu această fi au",
    "cs": "a je v na se že to s z do ale jsem jak pro tak po by od si jsou nebo když byl jeho už který",
    "tr": "ve bir bu da de için ile çok ne ama gibi daha o var mı ben değil olarak en sonra kadar olan ya her",
    "id": "dan yang di ini itu dengan untuk dari tidak dalam pada adalah akan ke saya kita anda bisa juga atau oleh",
    "hu": "a az és hogy nem is egy van ez de meg azt csak már volt mint vagy ha el én mert még nagyon lehet",
    "ru": "и в не на что я с он как это по но они мы она из у за то от так его для вы все был же бы о или к еще если",
    "uk": "і в не на що я з він як це по але вони ми вона у за та від так його для ви всі був до чи й або є цей про ще",
    "bg": "и в не на че аз с той как това по но те ние тя от за да се са е ще или до му беше като съм при много има ли",
    "ar": "في من على أن إلى هذا هذه التي الذي ما لا مع عن كان هو هي كل بعد قد أو و ثم لم إن بين ذلك كما أنا",
    "fa": "و در به از که این را با است برای آن یک خود تا کرد بر هم نیز شد می ما من او اما یا هر های شما",
    "ur": "کے میں کی ہے اور سے کا کو اس یہ پر نے ہیں کہ وہ ایک بھی نہیں ہو تو ہم جو کر ان تھا تھے گیا آپ",
    "hi": "के है में की और से का को यह पर ने हैं कि वह एक भी नहीं हो तो हम जो कर इस था थे गया मैं आप लिए",
    "mr": "आहे आणि या हे तो ती आहेत नाही होते मी एक व हा की पण केले साठी मध्ये त्या आपण खूप काय होता ते मला",
    "ne": "छ र को मा हो छन् लाई यो पनि ले गर्न भएको हुन्छ एक तर म थियो के यस छैन उनी धेरै गर्ने हामी लागि",
}
"""Words of each language that most of its texts have."""
LETTERS = {
    "es": "ñ¿¡", "pt": "ãõ", "fr": "œçêèùîû", "de": "ßäöü", "it": "ìò", "pl": "łąężźśćń", "fi": "äö", "sv": "åäö",
    "da": "æøå", "ro": "șțăşţ", "cs": "řěůčšž", "tr": "ğışç", "hu": "őűáé",
    "vi": "đơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "ru": "ыэё", "uk": "іїєґ", "bg": "ъ", "ar": "ةىأإ", "fa": "گچپژ", "ur": "ٹڈڑںےہھ", "mr": "ळ",
}  # fmt: skip
"""Letters that few languages of the same script have."""
SCRIPTS = {
    "LATIN": tuple("en es pt fr de it pl fi sw vi nl sv da ro cs tr id hu".split()),
    "CYRILLIC": ("ru", "uk", "bg"),
    "ARABIC": ("ar", "fa", "ur"),
    "DEVANAGARI": ("hi", "mr", "ne"),
    "BENGALI": ("bn",),
    "GUJARATI": ("gu",),
    "GURMUKHI": ("pa",),
    "HANGUL": ("ko",),
    "HEBREW": ("he",),
    "KANNADA": ("kn",),
    "MALAYALAM": ("ml",),
    "TAMIL": ("ta",),
    "TELUGU": ("te",),
    "THAI": ("th",),
    "CJK": ("zh", "ja"),
}
"""By how Unicode's names of their letters begin; kana count with CJK."""
KANA = ("HIRAGANA", "KATAKANA")
LANGUAGES = tuple(sorted(code for codes in SCRIPTS.values() for code in codes))
"""ISO 639-1 codes, all that can be told."""
JAPANESE = 0.1
"""Least share of kana in a Japanese text."""
_WORD = re.compile(r"[^\W\d_](?:[^\s.,;:!?\"()«»“”।]*[\w])?")
_WORDS = {code: frozenset(words.split()) for code, words in WORDS.items()}


def languages_of(text: str) -> frozenset[str]:
    """Return the codes of `LANGUAGES` that a text may be in: all where it has no letters, none of another script."""
    lowered = unicodedata.normalize("NFC", text.lower())
    scripts: Counter[str] = Counter()
    for character, times in Counter(lowered).items():
        scripts[_script(character)] += times
    del scripts[""]
    if not scripts:
        return frozenset(LANGUAGES)
    kana = sum(scripts.pop(name, 0) for name in KANA)
    scripts["CJK"] += kana
    script = max(scripts, key=lambda name: scripts[name])
    if script == "CJK":
        return frozenset(["ja" if kana >= JAPANESE * scripts["CJK"] else "zh"])
    return _likeliest(lowered, SCRIPTS.get(script, ()))


def _likeliest(text: str, codes: tuple[str, ...]) -> frozenset[str]:
    """Return those of which a text has most common words and letters: all of them where it has none of any."""
    if len(codes) < 2:
        return frozenset(codes)
    words, letters = Counter(_WORD.findall(text)), Counter(text)
    found = {
        code: sum(words[word] for word in _WORDS[code]) + sum(letters[letter] for letter in LETTERS.get(code, ""))
        for code in codes
    }
    most = max(found.values())
    return frozenset(code for code in codes if found[code] == most)


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """Return how the name of a letter begins, "" of what is no letter."""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0] if character.isalpha() else ""
