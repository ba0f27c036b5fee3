"""Passages in nine languages, written for these tests: questions with what must be in a quote, right answers in other
words, and five meaning-changing edits each (number, negation, entity, condition or quantifier, modality)."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One passage. `asked`: question and what answers it; `right`: answers that it supports, with their question."""

    language: str
    title: str
    text: str
    asked: tuple[tuple[str, str], ...]
    edits: tuple[tuple[str, str], ...]
    right: tuple[tuple[str, str], ...] = ()


CASES = (
    Case(
        "en",
        "Library > Loans",
        "You can borrow up to 12 books at a time. Each loan lasts 21 days and can be renewed twice online. "
        "Reference books cannot be taken home. Members must show their card at the desk.",
        (
            ("How many books can I borrow?", "12"),
            ("How long does a loan last?", "21 days"),
            ("Can I take reference books home?", "cannot be taken home"),
        ),
        (
            ("21 days", "28 days"),
            ("cannot be taken home", "can be taken home"),
            ("Reference books", "Picture books"),
            ("up to 12", "at least 12"),
            ("must show", "may show"),
        ),
        (
            ("How long does a loan last?", "A loan lasts 21 days."),
            ("How many books can I borrow?", "You can borrow up to twelve books at a time."),
            ("Can I take reference books home?", "No, reference books cannot be taken home."),
        ),
    ),
    Case(
        "en",
        "Gym > Membership",
        "Membership costs $39.50 per month. You may cancel at any time with 14 days' notice. The pool is open to all "
        "members before 9 pm. Guests are not allowed in the sauna on weekends.",
        (
            ("How much does membership cost?", "39.50"),
            ("Are guests allowed in the sauna on weekends?", "not allowed in the sauna"),
            ("How much notice do I need to cancel?", "14 days"),
        ),
        (
            ("$39.50", "$35.90"),
            ("are not allowed", "are allowed"),
            ("sauna", "pool"),
            ("before 9 pm", "after 9 pm"),
            ("may cancel", "must cancel"),
        ),
        (
            ("How much does membership cost?", "Membership costs $39.50 per month."),
            ("Can I cancel at any time?", "Yes, you may cancel at any time with 14 days' notice."),
            ("Are guests allowed in the sauna on weekends?", "No, guests are not allowed in the sauna on weekends."),
        ),
    ),
    Case(
        "en",
        "Orders > Returns",
        "Unworn shoes can be returned within 30 days of delivery. Sale items are not refunded. "
        "A refund is always paid to the original card within 5 business days. You must keep the receipt.",
        (
            ("How long do I have to return shoes?", "30 days"),
            ("Can I get a refund on a sale item?", "Sale items are not refunded"),
            ("How fast is the refund paid?", "5 business days"),
        ),
        (
            ("30 days", "60 days"),
            ("are not refunded", "are refunded"),
            ("original card", "original wallet"),
            ("always paid", "sometimes paid"),
            ("must keep", "should keep"),
        ),
        (
            ("How long do I have to return shoes?", "You have 30 days to return unworn shoes."),
            ("Can I get a refund on a sale item?", "No, sale items are not refunded."),
            ("How fast is the refund paid?", "The refund is paid within 5 business days."),
        ),
    ),
    Case(
        "en",
        "Leave > Parents",
        "New parents receive 16 weeks of paid leave. Leave can start up to 4 weeks before the birth. "
        "Contractors are not covered by this policy. Requests must be sent to HR at least 8 weeks in advance.",
        (
            ("How many weeks of leave do new parents receive?", "16 weeks"),
            ("Are contractors covered?", "not covered"),
            ("How far in advance must requests be sent?", "8 weeks"),
        ),
        (
            ("16 weeks", "18 weeks"),
            ("are not covered", "are covered"),
            ("sent to HR", "sent to Payroll"),
            ("before the birth", "after the birth"),
            ("must be sent", "can be sent"),
        ),
        (
            ("How many weeks of leave do new parents receive?", "New parents receive sixteen weeks of paid leave."),
            ("Are contractors covered by this policy?", "No, contractors are not covered by this policy."),
        ),
    ),
    Case(
        "en",
        "Broadband > Repairs",
        "An engineer visits on working days between 8:00 and 18:00. Repairs are free unless the router was damaged by "
        "the customer. Faults reported before noon are usually fixed the same day. Call Northlink on 0800 111 222.",
        (
            ("When does an engineer visit?", "between 8:00 and 18:00"),
            ("Are repairs free?", "free unless"),
            ("What number do I call?", "0800 111 222"),
        ),
        (
            ("18:00", "20:00"),
            ("are free unless", "are not free unless"),
            ("Northlink", "Southlink"),
            ("usually fixed", "always fixed"),
            ("before noon", "after noon"),
        ),
        (("When does an engineer visit?", "An engineer visits on working days between 8:00 and 18:00."),),
    ),
    Case(
        "en",
        "Museum > Tickets",
        "Admission is free for children under 12. Adults pay 15 euros, students half price. Large bags have to be left "
        "in the cloakroom. Photography is permitted without flash. The museum is closed on Mondays.",
        (
            ("How much do adults pay?", "15 euros"),
            ("Is the museum open on Mondays?", "closed on Mondays"),
            ("Is photography permitted?", "permitted without flash"),
        ),
        (
            ("15 euros", "50 euros"),
            ("without flash", "with flash"),
            ("closed on Mondays", "closed on Tuesdays"),
            ("under 12", "over 12"),
            ("have to be left", "can be left"),
        ),
        (
            ("How much do adults pay?", "Adults pay 15 euros."),
            ("Is photography permitted?", "Yes, photography is permitted without flash."),
        ),
    ),
    Case(
        "en",
        "Parcel > Delivery",
        "Standard delivery takes 3 to 5 working days and costs £4.99. Delivery is free for orders over £50. "
        "We do not deliver to Iceland. Some bulky items may arrive later. A signature is required for every parcel.",
        (
            ("How long does standard delivery take?", "3 to 5 working days"),
            ("Do you deliver to Iceland?", "do not deliver to Iceland"),
            ("When is delivery free?", "over £50"),
        ),
        (
            ("3 to 5", "3 to 9"),
            ("do not deliver", "do deliver"),
            ("Iceland", "Norway"),
            ("over £50", "under £50"),
            ("may arrive", "will arrive"),
        ),
        (
            ("How long does standard delivery take?", "Standard delivery takes three to five working days."),
            ("How much does standard delivery cost?", "Standard delivery costs £4.99."),
            ("Do you deliver to Iceland?", "No, we do not deliver to Iceland."),
            ("When is delivery free?", "Delivery is free for orders over £50."),
        ),
    ),
    Case(
        "de",
        "Bücherei > Ausleihe",
        "Sie können bis zu 12 Bücher gleichzeitig ausleihen. Jede Ausleihe dauert 21 Tage. "
        "Lexika dürfen nicht mitgenommen werden. Alle Mitglieder müssen ihren Ausweis zeigen.",
        (
            ("Wie viele Bücher kann ich ausleihen?", "12"),
            ("Wie lange dauert eine Ausleihe?", "21 Tage"),
            ("Darf ich Lexika mitnehmen?", "nicht mitgenommen"),
        ),
        (
            ("21 Tage", "28 Tage"),
            ("dürfen nicht mitgenommen", "dürfen mitgenommen"),
            ("Lexika", "Romane"),
            ("bis zu 12", "mindestens 12"),
            ("müssen ihren", "können ihren"),
        ),
        (
            ("Wie lange dauert eine Ausleihe?", "Eine Ausleihe dauert einundzwanzig Tage."),
            ("Wie viele Bücher kann ich ausleihen?", "Sie können bis zu zwölf Bücher ausleihen."),
        ),
    ),
    Case(
        "de",
        "Bestellung > Rückgabe",
        "Ungetragene Schuhe können innerhalb von 30 Tagen zurückgegeben werden. Reduzierte Ware ist vom Umtausch "
        "ausgeschlossen. Wir erstatten das Geld immer auf die Karte, mit der Sie bezahlt haben. Der Bon muss "
        "vorliegen.",
        (
            ("Wie lange kann ich Schuhe zurückgeben?", "30 Tagen"),
            ("Ist reduzierte Ware vom Umtausch ausgeschlossen?", "ausgeschlossen"),
            ("Worauf erstatten Sie das Geld?", "Karte"),
        ),
        (
            ("30 Tagen", "14 Tagen"),
            ("ist vom Umtausch", "ist nicht vom Umtausch"),
            ("die Karte", "das Konto"),
            ("immer auf", "nur auf"),
            ("muss vorliegen", "kann vorliegen"),
        ),
        (("Wie lange kann ich Schuhe zurückgeben?", "Schuhe können innerhalb von 30 Tagen zurückgegeben werden."),),
    ),
    Case(
        "de",
        "Versand",
        "Der Versand kostet 4,90 € und dauert drei Werktage. Ab 60 € liefern wir kostenlos. Wir liefern "
        "nicht in die "
        "Schweiz. Sperrige Artikel werden vor der Lieferung telefonisch angekündigt. Die Zustellung muss "
        "quittiert werden.",
        (
            ("Was kostet der Versand?", "4,90"),
            ("Liefern Sie in die Schweiz?", "nicht in die Schweiz"),
            ("Ab wann liefern Sie kostenlos?", "Ab 60"),
        ),
        (
            ("4,90", "9,40"),
            ("liefern nicht in", "liefern in"),
            ("Schweiz", "Türkei"),
            ("vor der Lieferung", "nach der Lieferung"),
            ("muss quittiert", "darf quittiert"),
        ),
        (
            ("Was kostet der Versand?", "Der Versand kostet 4,90 €."),
            ("Liefern Sie in die Schweiz?", "Nein, wir liefern nicht in die Schweiz."),
        ),
    ),
    Case(
        "de",
        "Personal > Urlaub",
        "Vollzeitkräfte haben 28 Tage Urlaub im Jahr. Resturlaub verfällt am 31. März. Der Antrag muss mindestens zwei "
        "Wochen vorher gestellt werden. Aushilfen erhalten keinen bezahlten Urlaub. Frau Wagner genehmigt "
        "alle Anträge.",
        (
            ("Wie viele Tage Urlaub haben Vollzeitkräfte?", "28 Tage"),
            ("Wann verfällt der Resturlaub?", "31. März"),
            ("Erhalten Aushilfen bezahlten Urlaub?", "keinen bezahlten Urlaub"),
        ),
        (
            ("31. März", "31. Mai"),
            ("erhalten keinen bezahlten", "erhalten bezahlten"),
            ("Wagner", "Becker"),
            ("mindestens zwei", "höchstens zwei"),
            ("muss mindestens", "sollte mindestens"),
        ),
        (("Wann verfällt der Resturlaub?", "Der Resturlaub verfällt am 31. März."),),
    ),
    Case(
        "de",
        "Schwimmbad",
        "Das Bad ist von 7 bis 21 Uhr geöffnet. Kinder unter 6 Jahren zahlen nichts. Der Eintritt beträgt 5 Euro. "
        "Manche Kurse finden nur im Sommer statt. Straßenschuhe sind in der Halle nicht erlaubt.",
        (
            ("Wann ist das Bad geöffnet?", "7 bis 21 Uhr"),
            ("Wie hoch ist der Eintritt?", "5 Euro"),
            ("Sind Straßenschuhe in der Halle erlaubt?", "nicht erlaubt"),
        ),
        (
            ("21 Uhr", "22 Uhr"),
            ("sind in der Halle nicht erlaubt", "sind in der Halle erlaubt"),
            ("im Sommer", "im Winter"),
            ("Kinder unter 6", "Kinder über 6"),
            ("Manche Kurse", "Alle Kurse"),
        ),
        (("Wann ist das Bad geöffnet?", "Das Bad ist von 7 bis 21 Uhr geöffnet."),),
    ),
    Case(
        "fr",
        "Bibliothèque > Prêt",
        "Vous pouvez emprunter jusqu'à 12 livres à la fois. Chaque prêt dure 21 jours. Les dictionnaires ne "
        "peuvent pas "
        "être empruntés. Tous les membres doivent présenter leur carte.",
        (
            ("Combien de livres puis-je emprunter ?", "12"),
            ("Combien de temps dure un prêt ?", "21 jours"),
            ("Peut-on emprunter les dictionnaires ?", "ne peuvent pas"),
        ),
        (
            ("21 jours", "28 jours"),
            ("ne peuvent pas être", "peuvent être"),
            ("dictionnaires", "romans"),
            ("jusqu'à 12", "au moins 12"),
            ("doivent présenter", "peuvent présenter"),
        ),
        (
            ("Combien de temps dure un prêt ?", "Un prêt dure vingt et un jours."),
            ("Combien de livres puis-je emprunter ?", "Vous pouvez emprunter jusqu'à douze livres."),
        ),
    ),
    Case(
        "fr",
        "Commandes > Retours",
        "Les chaussures non portées peuvent être retournées sous 30 jours. Les articles soldés ne sont pas remboursés. "
        "Le remboursement est toujours versé sur la carte d'origine. Vous devez garder le ticket.",
        (
            ("Sous combien de jours retourner des chaussures ?", "30 jours"),
            ("Les articles soldés sont-ils remboursés ?", "ne sont pas remboursés"),
            ("Sur quoi le remboursement est-il versé ?", "carte d'origine"),
        ),
        (
            ("30 jours", "15 jours"),
            ("ne sont pas remboursés", "sont remboursés"),
            ("la carte d'origine", "le compte d'origine"),
            ("toujours versé", "parfois versé"),
            ("devez garder", "pouvez garder"),
        ),
        (("Les articles soldés sont-ils remboursés ?", "Non, les articles soldés ne sont pas remboursés."),),
    ),
    Case(
        "fr",
        "Livraison",
        "La livraison coûte 4,90 € et prend trois jours ouvrés. Elle est gratuite à partir de 60 €. Nous ne "
        "livrons pas "
        "en Suisse. Certains articles sont expédiés après le paiement. Une signature est obligatoire.",
        (
            ("Combien coûte la livraison ?", "4,90"),
            ("Livrez-vous en Suisse ?", "ne livrons pas en Suisse"),
            ("Quand la livraison est-elle gratuite ?", "60"),
        ),
        (
            ("4,90", "6,90"),
            ("ne livrons pas en", "livrons en"),
            ("Suisse", "Norvège"),
            ("après le paiement", "avant le paiement"),
            ("est obligatoire", "est facultative"),
        ),
        (("Combien coûte la livraison ?", "La livraison coûte 4,90 €."),),
    ),
    Case(
        "fr",
        "Congés",
        "Les salariés ont 25 jours de congé par an. La demande doit être envoyée au moins deux semaines "
        "avant le départ. "
        "Les stagiaires n'ont pas de congés payés. Seul le service paie de Lyon valide les demandes.",
        (
            ("Combien de jours de congé ont les salariés ?", "25 jours"),
            ("Les stagiaires ont-ils des congés payés ?", "n'ont pas"),
            ("Qui valide les demandes ?", "Lyon"),
        ),
        (
            ("25 jours", "35 jours"),
            ("n'ont pas de congés", "ont des congés"),
            ("Lyon", "Lille"),
            ("au moins deux", "au plus deux"),
            ("doit être envoyée", "peut être envoyée"),
        ),
        (("Combien de jours de congé ont les salariés ?", "Les salariés ont 25 jours de congé par an."),),
    ),
    Case(
        "es",
        "Biblioteca > Préstamos",
        "Puede llevarse hasta 12 libros a la vez. Cada préstamo dura 21 días. Los diccionarios no se pueden llevar a "
        "casa. Todos los socios deben mostrar su carné.",
        (
            ("¿Cuántos libros puedo llevarme?", "12"),
            ("¿Cuánto dura un préstamo?", "21 días"),
            ("¿Se pueden llevar a casa los diccionarios?", "no se pueden"),
        ),
        (
            ("21 días", "28 días"),
            ("no se pueden llevar", "se pueden llevar"),
            ("diccionarios", "novelas"),
            ("hasta 12", "al menos 12"),
            ("deben mostrar", "pueden mostrar"),
        ),
        (
            ("¿Cuánto dura un préstamo?", "Un préstamo dura veintiún días."),
            ("¿Cuántos libros puedo llevarme?", "Puede llevarse hasta doce libros."),
        ),
    ),
    Case(
        "es",
        "Pedidos > Devoluciones",
        "Los zapatos sin usar se pueden devolver en un plazo de 30 días. Los artículos rebajados no se reembolsan. "
        "El reembolso siempre se abona en la tarjeta original. Debe conservar el recibo.",
        (
            ("¿En qué plazo puedo devolver los zapatos?", "30 días"),
            ("¿Se reembolsan los artículos rebajados?", "no se reembolsan"),
            ("¿Dónde se abona el reembolso?", "tarjeta original"),
        ),
        (
            ("30 días", "45 días"),
            ("no se reembolsan", "se reembolsan"),
            ("tarjeta original", "cuenta original"),
            ("siempre se abona", "a veces se abona"),
            ("Debe conservar", "Puede conservar"),
        ),
        (("¿Se reembolsan los artículos rebajados?", "No, los artículos rebajados no se reembolsan."),),
    ),
    Case(
        "es",
        "Envíos",
        "El envío cuesta 4,90 € y tarda tres días laborables. Es gratis a partir de 1.200 €. No enviamos a Cuba. "
        "Algunos muebles llegan después del plazo. La firma es obligatoria.",
        (
            ("¿Cuánto cuesta el envío?", "4,90"),
            ("¿Envían a Cuba?", "No enviamos a Cuba"),
            ("¿A partir de qué importe es gratis?", "1.200"),
        ),
        (
            ("1.200", "1.300"),
            ("No enviamos a", "Enviamos a"),
            ("Cuba", "Chile"),
            ("Algunos muebles", "Todos los muebles"),
            ("es obligatoria", "es opcional"),
        ),
        (("¿Cuánto cuesta el envío?", "El envío cuesta 4,90 €."),),
    ),
    Case(
        "es",
        "Vacaciones",
        "La plantilla tiene 23 días de vacaciones al año. La solicitud debe enviarse antes del 15 de marzo. "
        "Los becarios "
        "no tienen vacaciones pagadas. Solo la oficina de Bilbao aprueba las solicitudes.",
        (
            ("¿Cuántos días de vacaciones tiene la plantilla?", "23 días"),
            ("¿Tienen los becarios vacaciones pagadas?", "no tienen"),
            ("¿Quién aprueba las solicitudes?", "Bilbao"),
        ),
        (
            ("15 de marzo", "15 de mayo"),
            ("no tienen vacaciones", "tienen vacaciones"),
            ("Bilbao", "Sevilla"),
            ("antes del", "después del"),
            ("debe enviarse", "puede enviarse"),
        ),
        (("¿Cuántos días de vacaciones tiene la plantilla?", "La plantilla tiene 23 días de vacaciones al año."),),
    ),
    Case(
        "pt",
        "Biblioteca > Empréstimos",
        "Pode levar até 12 livros de cada vez. Cada empréstimo dura 21 dias. Os dicionários não podem ser levados para "
        "casa. Todos os sócios devem mostrar o cartão.",
        (
            ("Quantos livros posso levar?", "12"),
            ("Quanto tempo dura um empréstimo?", "21 dias"),
            ("Os dicionários podem ser levados para casa?", "não podem"),
        ),
        (
            ("21 dias", "28 dias"),
            ("não podem ser", "podem ser"),
            ("dicionários", "romances"),
            ("até 12", "pelo menos 12"),
            ("devem mostrar", "podem mostrar"),
        ),
        (
            ("Quanto tempo dura um empréstimo?", "Um empréstimo dura vinte e um dias."),
            ("Quantos livros posso levar?", "Pode levar até doze livros."),
        ),
    ),
    Case(
        "pt",
        "Encomendas > Devoluções",
        "Os sapatos não usados podem ser devolvidos no prazo de 30 dias. Os artigos em saldo não são reembolsados. "
        "O reembolso é sempre feito no cartão original. Deve guardar o recibo.",
        (
            ("Em que prazo posso devolver os sapatos?", "30 dias"),
            ("Os artigos em saldo são reembolsados?", "não são reembolsados"),
            ("Em que cartão é feito o reembolso?", "cartão original"),
        ),
        (
            ("30 dias", "90 dias"),
            ("não são reembolsados", "são reembolsados"),
            ("cartão original", "vale original"),
            ("sempre feito", "às vezes feito"),
            ("Deve guardar", "Pode guardar"),
        ),
        (("Os artigos em saldo são reembolsados?", "Não, os artigos em saldo não são reembolsados."),),
    ),
    Case(
        "pt",
        "Envios",
        "O envio custa 4,90 € e demora três dias úteis. É grátis a partir de 60 €. Não enviamos para Angola. "
        "Alguns móveis chegam depois do prazo. A assinatura é obrigatória.",
        (
            ("Quanto custa o envio?", "4,90"),
            ("Enviam para Angola?", "Não enviamos para Angola"),
            ("A partir de que valor é grátis?", "60"),
        ),
        (
            ("três dias", "seis dias"),
            ("Não enviamos para", "Enviamos para"),
            ("Angola", "Macau"),
            ("Alguns móveis", "Todos os móveis"),
            ("é obrigatória", "é opcional"),
        ),
        (("Quanto custa o envio?", "O envio custa 4,90 €."),),
    ),
    Case(
        "pt",
        "Férias",
        "Os funcionários têm 22 dias de férias por ano. O pedido deve ser enviado antes de 15 de março. Os estagiários "
        "não têm férias pagas. Apenas o escritório do Porto aprova os pedidos.",
        (
            ("Quantos dias de férias têm os funcionários?", "22 dias"),
            ("Os estagiários têm férias pagas?", "não têm"),
            ("Quem aprova os pedidos?", "Porto"),
        ),
        (
            ("22 dias", "25 dias"),
            ("não têm férias", "têm férias"),
            ("Porto", "Faro"),
            ("antes de", "depois de"),
            ("deve ser enviado", "pode ser enviado"),
        ),
        (("Quantos dias de férias têm os funcionários?", "Os funcionários têm 22 dias de férias por ano."),),
    ),
    Case(
        "zh",
        "图书馆 > 借阅",
        "每人最多可以借12本书。每次借期为21天。词典不能带回家。所有会员必须出示会员卡。",
        (
            ("一个人可以借多少本书?", "12本"),
            ("借期是多少天?", "21天"),
            ("词典能带回家吗?", "不能带回家"),
        ),
        (
            ("21天", "28天"),
            ("不能带回家", "能带回家"),
            ("词典", "小说"),
            ("最多可以借12本", "至少可以借12本"),
            ("必须出示", "可以出示"),
        ),
        (("借期是多少天?", "借期为二十一天。"),),
    ),
    Case(
        "zh",
        "订单 > 退货",
        "未穿过的鞋子可以在30天内退货。特价商品不予退款。退款总是退回原来的银行卡。顾客必须保留收据。",
        (
            ("鞋子多少天内可以退货?", "30天内"),
            ("特价商品可以退款吗?", "不予退款"),
            ("退款退到哪里?", "银行卡"),
        ),
        (
            ("30天内", "60天内"),
            ("不予退款", "可予退款"),
            ("银行卡", "支付宝"),
            ("总是退回", "有时退回"),
            ("必须保留", "可以保留"),
        ),
    ),
    Case(
        "ja",
        "図書館 > 貸出",
        "本は一度に12冊まで借りられます。貸出期間は21日です。辞書は持ち出せません。会員は必ずカードを提示してください。",
        (
            ("本は何冊まで借りられますか?", "12冊"),
            ("貸出期間は何日ですか?", "21日"),
            ("辞書は持ち出せますか?", "持ち出せません"),
        ),
        (
            ("21日", "28日"),
            ("持ち出せません", "持ち出せます"),
            ("辞書", "雑誌"),
            ("12冊まで", "12冊以上"),
            ("提示してください", "提示しないでください"),
        ),
        (("貸出期間は何日ですか?", "貸出期間は21日です。"),),
    ),
    Case(
        "ar",
        "المكتبة > الإعارة",
        "يمكنك استعارة 12 كتابا كحد أقصى. مدة الإعارة 21 يوما. لا يمكن إخراج القواميس من المكتبة. "
        "يجب على جميع الأعضاء إبراز البطاقة قبل الدخول.",
        (
            ("كم كتابا يمكنني استعارة؟", "12"),
            ("ما مدة الإعارة؟", "21 يوما"),
            ("هل يمكن إخراج القواميس من المكتبة؟", "لا يمكن إخراج"),
        ),
        (
            ("21 يوما", "28 يوما"),
            ("لا يمكن إخراج", "يمكن إخراج"),
            ("القواميس", "الروايات"),
            ("قبل الدخول", "بعد الدخول"),
            ("يجب على", "يجوز على"),
        ),
        (("ما مدة الإعارة؟", "مدة الإعارة ٢١ يوما."),),
    ),
    Case(
        "he",
        "ספרייה > השאלה",
        "אפשר לשאול עד 12 ספרים. משך ההשאלה הוא 21 ימים. אסור להוציא מילונים מהספרייה. "
        "כל החברים חייבים להציג כרטיס לפני הכניסה.",
        (
            ("כמה ספרים אפשר לשאול?", "12"),
            ("מה משך ההשאלה?", "21 ימים"),
            ("האם אפשר להוציא מילונים מהספרייה?", "אסור להוציא"),
        ),
        (
            ("21 ימים", "28 ימים"),
            ("אסור להוציא", "מותר להוציא"),
            ("מילונים", "רומנים"),
            ("לפני הכניסה", "אחרי הכניסה"),
            ("חייבים להציג", "יכולים להציג"),
        ),
        (("מה משך ההשאלה?", "משך ההשאלה הוא 21 ימים."),),
    ),
)
