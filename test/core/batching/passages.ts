/** The same kind of everyday text in many languages and scripts, written for these tests. */
export const passages: Readonly<Record<string, string>> = {
  English:
    'The harbour office opens at seven. Captains who want to leave before noon should bring their papers the evening before, because the queue grows quickly once the ferry has come in. Last year 4,213 boats asked for a berth, and only nine were turned away.',
  German:
    'Das Hafenamt öffnet um sieben Uhr. Wer vor Mittag auslaufen möchte, sollte seine Unterlagen schon am Vorabend abgeben, denn sobald die Fähre eingelaufen ist, wächst die Warteschlange schnell. Im vergangenen Jahr wurden nur neun Schiffe abgewiesen.',
  French:
    'Le bureau du port ouvre à sept heures. Les capitaines qui veulent partir avant midi devraient déposer leurs papiers la veille, car la file s’allonge très vite dès que le ferry est arrivé. L’année dernière, neuf bateaux seulement ont été refusés.',
  Spanish:
    'La oficina del puerto abre a las siete. Los capitanes que quieran zarpar antes del mediodía deben entregar sus papeles la noche anterior, porque la cola crece rápidamente cuando llega el transbordador. El año pasado solo nueve barcos fueron rechazados.',
  Turkish:
    'Liman ofisi saat yedide açılıyor. Öğleden önce ayrılmak isteyen kaptanlar belgelerini bir akşam önceden getirmelidir, çünkü feribot geldikten sonra sıra hızla uzuyor. Geçen yıl yalnızca dokuz tekne geri çevrildi.',
  Russian:
    'Портовая контора открывается в семь часов. Капитанам, которые хотят выйти в море до полудня, лучше принести документы накануне вечером, потому что очередь быстро растёт, как только приходит паром. В прошлом году отказали только девяти судам.',
  Greek:
    'Το λιμεναρχείο ανοίγει στις επτά. Οι καπετάνιοι που θέλουν να φύγουν πριν από το μεσημέρι πρέπει να φέρουν τα χαρτιά τους το προηγούμενο βράδυ, γιατί η ουρά μεγαλώνει γρήγορα μόλις έρθει το πλοίο της γραμμής.',
  Chinese:
    '港口办公室早上七点开门。想在中午之前出海的船长最好在前一天晚上把文件送来，因为渡轮一到，队伍很快就会变长。去年有四千多艘船申请泊位，只有九艘被拒绝。',
  Japanese:
    '港の事務所は七時に開きます。昼前に出港したい船長は、前の晩に書類を持って来てください。フェリーが着くと、列がすぐに長くなるからです。去年断られた船は九隻だけでした。',
  Korean:
    '항만 사무소는 아침 일곱 시에 문을 엽니다. 정오 전에 출항하려는 선장은 전날 저녁에 서류를 가져와야 합니다. 여객선이 들어오면 줄이 금방 길어지기 때문입니다. 작년에는 아홉 척만 거절되었습니다.',
  Arabic:
    'يفتح مكتب الميناء أبوابه في الساعة السابعة. على القباطنة الذين يريدون الإبحار قبل الظهر أن يحضروا أوراقهم في مساء اليوم السابق، لأن الطابور يطول بسرعة بعد وصول العبارة. في العام الماضي رُفضت تسعة قوارب فقط.',
  Hindi:
    'बंदरगाह का कार्यालय सात बजे खुलता है। जो कप्तान दोपहर से पहले निकलना चाहते हैं, उन्हें अपने कागज़ एक शाम पहले ले आने चाहिए, क्योंकि नौका के आते ही कतार तेज़ी से बढ़ती है। पिछले साल केवल नौ नावों को मना किया गया।',
  code: 'export function berthsFree(boats: Boat[], at: Date): number {\n  const moored = boats.filter((boat) => boat.leavesAt > at && boat.state !== "gone");\n  return Math.max(0, berthsTotal - moored.length);\n}\n',
};
