"""Two plain sentences in each language that IFEval asks for, written for these tests."""

# ruff: noqa: E501

SAID = {
    "en": "The bus was late again this morning, so we walked to the market together. It was cold but the sun was out.",
    "es": "El autobús llegó tarde otra vez esta mañana y fuimos juntos al mercado. Hacía frío, pero el sol ya brillaba.",
    "pt": "O ônibus atrasou de novo esta manhã e nós fomos juntos ao mercado. Estava frio, mas o sol já não se escondia.",
    "ar": "تأخرت الحافلة مرة أخرى هذا الصباح ولذلك ذهبنا إلى السوق مشيا على الأقدام. كان الجو باردا ولكن الشمس مشرقة.",
    "hi": "आज सुबह बस फिर देर से आई और हम पैदल बाज़ार गए। मौसम ठंडा था लेकिन धूप निकली हुई थी और सब लोग खुश थे।",
    "fr": "Le bus est encore arrivé en retard ce matin et nous sommes allés au marché à pied. Il faisait froid dans la rue.",
    "ru": "Автобус снова опоздал сегодня утром, и мы пошли на рынок пешком. Было холодно, но солнце уже светило ярко.",
    "de": "Der Bus kam heute Morgen wieder zu spät und wir sind zusammen zum Markt gelaufen. Es war kalt, aber die Sonne"
    " schien.",
    "ja": "今朝もバスが遅れたので、私たちは一緒に市場まで歩きました。寒かったですが、太陽が出ていました。",
    "it": "L'autobus è arrivato di nuovo in ritardo questa mattina e siamo andati al mercato a piedi. Faceva freddo ma il"
    " sole era alto.",
    "bn": "আজ সকালে বাস আবার দেরিতে এসেছে, তাই আমরা হেঁটে বাজারে গেলাম। ঠান্ডা ছিল কিন্তু রোদ উঠেছিল।",
    "uk": "Автобус знову запізнився сьогодні вранці, і ми пішли на ринок пішки. Було холодно, але сонце вже світило.",
    "th": "เช้านี้รถเมล์มาสายอีกแล้ว เราจึงเดินไปตลาดด้วยกัน อากาศหนาวแต่มีแดดออก",
    "ur": "آج صبح بس پھر دیر سے آئی اس لیے ہم پیدل بازار گئے۔ موسم ٹھنڈا تھا لیکن دھوپ نکلی ہوئی تھی۔",
    "ta": "இன்று காலை பேருந்து மீண்டும் தாமதமாக வந்தது, அதனால் நாங்கள் சந்தைக்கு நடந்து சென்றோம். குளிராக இருந்தது.",
    "te": "ఈ ఉదయం బస్సు మళ్ళీ ఆలస్యంగా వచ్చింది, అందుకే మేము మార్కెట్‌కు నడిచి వెళ్ళాము. చలిగా ఉంది కానీ ఎండ వచ్చింది.",
    "bg": "Автобусът отново закъсня тази сутрин и ние отидохме пеша до пазара. Беше студено, но слънцето вече грееше.",
    "ko": "오늘 아침에 버스가 또 늦어서 우리는 시장까지 함께 걸어갔습니다. 날씨는 추웠지만 해가 났습니다.",
    "pl": "Autobus znowu się spóźnił dziś rano, więc poszliśmy na targ pieszo. Było zimno, ale słońce już świeciło.",
    "he": "האוטובוס שוב איחר הבוקר ולכן הלכנו יחד לשוק ברגל. היה קר אבל השמש כבר זרחה.",
    "fa": "امروز صبح اتوبوس دوباره دیر آمد و ما با هم پیاده به بازار رفتیم. هوا سرد بود اما آفتاب می‌تابید.",
    "vi": "Sáng nay xe buýt lại đến muộn nên chúng tôi cùng nhau đi bộ ra chợ. Trời lạnh nhưng nắng đã lên.",
    "ne": "आज बिहान बस फेरि ढिलो आयो, त्यसैले हामी हिँडेर बजार गयौं। जाडो थियो तर घाम लागेको थियो र सबै खुसी थिए।",
    "sw": "Basi lilichelewa tena leo asubuhi na sisi tulitembea pamoja hadi sokoni. Kulikuwa na baridi lakini jua"
    " lilikuwa limetoka.",
    "kn": "ಇಂದು ಬೆಳಿಗ್ಗೆ ಬಸ್ ಮತ್ತೆ ತಡವಾಗಿ ಬಂದಿತು, ಆದ್ದರಿಂದ ನಾವು ಮಾರುಕಟ್ಟೆಗೆ ನಡೆದುಕೊಂಡು ಹೋದೆವು. ಚಳಿ ಇತ್ತು.",
    "mr": "आज सकाळी बस पुन्हा उशिरा आली आणि आम्ही चालत बाजारात गेलो. थंडी होती पण ऊन पडले होते आणि सगळे आनंदी होते.",
    "gu": "આજે સવારે બસ ફરી મોડી આવી, તેથી અમે ચાલીને બજાર ગયા. ઠંડી હતી પણ તડકો નીકળ્યો હતો.",
    "pa": "ਅੱਜ ਸਵੇਰੇ ਬੱਸ ਫਿਰ ਦੇਰ ਨਾਲ ਆਈ, ਇਸ ਲਈ ਅਸੀਂ ਤੁਰ ਕੇ ਬਾਜ਼ਾਰ ਗਏ। ਠੰਢ ਸੀ ਪਰ ਧੁੱਪ ਨਿਕਲੀ ਹੋਈ ਸੀ।",
    "ml": "ഇന്ന് രാവിലെ ബസ് വീണ്ടും വൈകി വന്നു, അതിനാൽ ഞങ്ങൾ ചന്തയിലേക്ക് നടന്നു പോയി. തണുപ്പായിരുന്നു.",
    "fi": "Bussi oli taas myöhässä tänä aamuna, joten kävelimme yhdessä torille. Oli kylmä, mutta aurinko paistoi jo.",
}
OTHERS = {
    "zh": "今天早上公共汽车又晚点了，所以我们一起走路去市场。天气很冷，但是太阳出来了。",
    "nl": "De bus was vanmorgen weer te laat en we zijn samen naar de markt gelopen. Het was koud, maar de zon scheen al.",
    "sv": "Bussen var sen igen i morse så vi gick till torget tillsammans. Det var kallt men solen sken redan.",
    "da": "Bussen var forsinket igen i morges, så vi gik sammen til torvet. Det var koldt, men solen skinnede allerede.",
    "ro": "Autobuzul a întârziat din nou azi dimineață și am mers împreună la piață. Era frig, dar soarele strălucea.",
    "cs": "Autobus měl dnes ráno zase zpoždění, a tak jsme šli na trh pěšky. Bylo zima, ale slunce už svítilo.",
    "tr": "Otobüs bu sabah yine geç kaldı ve biz pazara birlikte yürüdük. Hava soğuktu ama güneş çıkmıştı.",
    "id": "Pagi ini bus terlambat lagi dan kami berjalan kaki ke pasar bersama. Udara dingin tetapi matahari sudah terbit.",
    "hu": "A busz ma reggel megint késett, és együtt mentünk gyalog a piacra. Hideg volt, de már sütött a nap.",
}
