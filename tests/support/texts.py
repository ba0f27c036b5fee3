"""Varied texts for tokenizers: 18 languages, code, numbers, emoji, white space, normal forms, control characters."""

from __future__ import annotations

import unicodedata
from typing import Any

from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds

LANGUAGES = [
    "The quick brown fox can't jump over 13 lazy dogs; it's tired, they've left and I'll go.",
    "Größere Mengen müssen schriftlich bestellt werden, §5 Abs. 2 gilt für 1.234,56 €.",
    "L'été dernier, j'ai mangé 3 crêpes à Orléans — c'était délicieux !",
    "¿Dónde está la estación? El niño comió mañana 25 piñas.",
    "A conexão não está disponível; tente às 18h30, por favor.",
    "Perché no? Così è la città, più bella di così…",
    "Zażółć gęślą jaźń, proszę o 12 zł reszty.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю 2024.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, 7 φορές.",
    "İstanbul'da ığdır şoförü çok güçlü; 3'üncü gün.",
    "صباح الخير، رقم الطلب ١٢٣٤ جاهز للاستلام.",
    "שלום עולם, ההזמנה מספר 55 מוכנה.",
    "नमस्ते दुनिया, आपका ऑर्डर १२३ तैयार है।",
    "สวัสดีชาวโลก คำสั่งซื้อ 42 พร้อมแล้ว",
    "你好,世界!订单号123已准备好。",
    "こんにちは世界。注文番号は456です。ｶﾀｶﾅ",
    "안녕하세요 세계, 주문 789번이 준비되었습니다.",
]
CODE = [
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # what?\n\n\nclass A:\n\tpass\n',
    "SELECT * FROM t WHERE a >= 10 AND b != 'x''y'; -- 0x1F",
    '{"a": [1, 2.5e-10, null], "b": {"c": "\\u00e9\\n"}}',
    "<div class='x'>&nbsp;&#8217;</div>\r\n<!-- c -->\r\n",
    "for (int i=0;i<n;++i){a[i]^=~b[i]<<3;}",
    "https://example.com/a%20b?x=1&y=%C3%A9#frag user@example.com",
]
ODD = [
    "",
    " ",
    "   ",
    "\n\n\n",
    "\t\t x\t",
    "a  b   c    d     e",
    " leading and trailing  ",
    "\u00a0\u2003\u3000 x \u200b\u200d\ufeff",
    "\r\n\r\n  \r\n x",
    "0123456789 12 345 6789 1,000,000.00 -5 +3 1e10 ½ ² Ⅷ ٣",
    "👍 👩‍👩‍👧‍👦 🇩🇪 👋🏽 ☃️ 1️⃣",
    "\x01\x02\x1b[31m\x7f\x80\x9f",
    "x\x00y",
    "<|im_start|>system\nhi<|im_end|>\n<|endoftext|>",
    "<|im_start |> <|im_sta",
    "'S 'LL don’t DON'T 's's",
    "___---***///\\\\\\ ...!!!???",
    "\ufffd\U0010ffff\U000e0041",
    "ﬁ ﬀ Ⅳ ① ㎏ ｱ",
    "a" * 300,
    "=" * 100 + "\n" + " " * 100,
    "مرحبا hello 你好 мир 🙂",
]
BLOCKS = [0x20, 0xA0, 0x300, 0x400, 0x590, 0x900, 0x2000, 0x3040, 0x4E00, 0xAC00, 0x1F300]
"""Code points where scripts and symbols begin, without surrogates."""


def corpus(seed: int = 7, more: int = 250) -> list[str]:
    """The texts above, their normal forms, and seeded mixtures of pieces of them."""
    base = LANGUAGES + CODE + ODD
    texts = base + [unicodedata.normalize(form, text) for text in base for form in ("NFC", "NFD")]
    random = ClockIds(SystemClock(), seed).random
    pieces = [piece for text in base for piece in (text, text[: len(text) // 2], *text.split(" "))]
    texts += ["".join(random.choices(pieces, k=random.randint(1, 6))) for _ in range(more)]
    texts += ["".join(_scramble(random)) for _ in range(more // 2)]
    return list(dict.fromkeys(texts))


def _scramble(random: Any) -> list[str]:
    return [chr(random.choice(BLOCKS) + random.randrange(0x80)) for _ in range(random.randint(1, 40))]
