"""Words that the overlap test looks at by themselves.

English, with the commonest of German and French. What is missing here makes a check miss something,
never a word of another language wrong.
"""

from __future__ import annotations

_FUNCTION = """
    a an the and or but if then than that this these those it its they them their he him his
    she her we us our you your i me my one ones who whom whose which what where when while as
    at by for from in into of off on onto out over per to toward towards up upon with within
    is are was were be been being am do does did done doing has have had having will would
    shall should so such there here also too very just still even about each other another
    same own both either some any because since though although however therefore thus hence
    yet how why during after before between through under above below again further once until
    against among across along behind beyond around near via according passage passages text
    source document says states said stated states der die das den dem des ein eine einen
    einem einer eines und oder aber ist sind war waren wird wurde wurden werden hat haben
    hatte im in am an auf aus bei mit nach von vom vor zu zum zur für über unter zwischen es
    er sie sich auch als wie dass so noch nur le la les l un une des du de d et ou mais est
    sont était sera a ont avait au aux en dans par pour sur avec sans ce cette ces il elle ils
    elles on se s qui que quoi dont où y ne n vers
"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())
"""Words that carry no content of their own."""

_GERMAN = """
    der die das den dem ein eine einen hat ist wurde von aus bei
"""
GERMAN = frozenset(_GERMAN.split())
"""Two of them show that a text is German."""

_SOFT = """
    found find discovered discover detect detected measure measured measures amount amounted
    total roughly about approximately nearly almost around circa some exactly precisely use
    used using uses need needs needed require required requires must have to get gets got
    given give gives gave make makes made take takes took taken keep keeps kept come comes
    came go goes went become becomes became remain remains remained stay stays stayed seem
    seems turn turned locate located lie lies lay situated stand stands call called name named
    known term contain contains contained include includes included consist consists hold
    holds held possess number numbers figure value level rate share percent percentage
    proportion degree degrees time times period duration long wide tall deep large big small
    high low year years month months week weeks day days hour hours minute minutes second
    seconds result results resulted lead leads show shows shown showed report reported
    describe described different several many most much more less few other certain various
    part parts can may might could able allow allowed permit permitted possible during first
    last later earlier following previous next fewer third half quarter twice once mainly
    mostly chiefly largely usually often generally typically only group groups people person
    persons participant participants case cases way thing things machte gibt gab liegt lag
    beträgt betrug fait font
"""
SOFT_WORDS = frozenset(_SOFT.split())
"""Words that one may put for another without saying something else: one of these that the passage
has not is no other fact."""

_NEGATORS = """
    not no never neither nor none nobody nothing nowhere without cannot cant can't won't isn't
    aren't wasn't weren't doesn't don't didn't hasn't haven't hadn't couldn't wouldn't
    shouldn't mustn't needn't lack lacks lacked lacking fail fails failed unable except free
    hardly scarcely barely unless kein keine keinen keinem keiner keines nicht nie niemals
    nirgends ohne weder niemand nichts pas jamais aucun aucune sans rien personne ni
"""
NEGATORS = frozenset(_NEGATORS.split())
"""Words that turn what stands near them into its opposite."""

_HEDGES = """
    may might could possibly perhaps probably likely presumably apparently seem seems suggest
    suggests suggested believe believes believed expect expects expected assume assumes
    assumed suspect suspects suspected allegedly reportedly supposedly claim claims claimed argue
    argues argued think thinks estimate estimates hope hopes unclear uncertain unknown whether
    possible significant vielleicht möglicherweise könnte könnten vermutlich wohl soll
    peut-être pourrait pourraient probablement semble
"""
HEDGES = frozenset(_HEDGES.split())
"""What makes a statement uncertain."""
_PERMITS = """
    can may might could able allow allowed permit permitted possible provided if unless must need
    needs needed required have has
"""
CAREFUL = HEDGES | frozenset(_PERMITS.split())
"""What makes a claim careful enough for an uncertain passage."""

_UNIVERSAL = """
    all every always never none everyone everybody everything everywhere only entire whole alle
    jeder jede immer nur tous toutes toujours
"""
UNIVERSAL = frozenset(_UNIVERSAL.split())
"""What makes a statement hold without exception."""

_CAUSES = """
    cause causes caused causing because due reduce reduces reduced prevent prevents prevented
    cure cures cured lead leads led effect owing thanks why explain explains explained
"""
CAUSES = frozenset(_CAUSES.split())
TOGETHER = ("associat", "correlat", "observational", "linked", "related", "reported", "coincid")
"""Beginnings of words that say that two things go together, and not that one makes the other."""

_ORDINALS = """
    first second third fourth fifth sixth seventh eighth ninth tenth
"""
ORDINALS = frozenset(_ORDINALS.split())

_IRREGULAR = """
    begin/began/begun build/built bring/brought buy/bought catch/caught choose/chose/chosen
    draw/drew/drawn drive/drove/driven eat/ate/eaten fall/fell/fallen feel/felt fight/fought
    fly/flew/flown forbid/forbade/forbidden freeze/froze/frozen grow/grew/grown hear/heard
    hide/hid/hidden know/knew/known lose/lost/losing mean/meant meet/met pay/paid ride/rode/ridden
    rise/rose/risen run/ran sell/sold send/sent shrink/shrank/shrunk sing/sang/sung
    sink/sank/sunk speak/spoke/spoken spend/spent steal/stole/stolen strike/struck swim/swam/swum
    teach/taught tear/tore/torn throw/threw/thrown wear/wore/worn weep/wept win/won
    write/wrote/written burn/burnt sow/sown child/children foot/feet tooth/teeth mouse/mice
"""
IRREGULAR = {form: forms.split("/")[0] for forms in _IRREGULAR.split() for form in forms.split("/")}
"""Forms of a word that share no stem, and the one that stands for all."""

_ARTICLES = """
    the a an its their his her der die das dem den le la les un une
"""
ARTICLES = frozenset(_ARTICLES.split())
_ADVERBIAL = """
    in on at after before during since until within for über seit nach im am dans en depuis
    après avant pendant
"""
ADVERBIAL = frozenset(_ADVERBIAL.split())
"""Before words that may stand anywhere in a sentence."""
_SUBORDINATE = """
    when if once unless because since while until although wenn weil quand si
"""
SUBORDINATE = frozenset(_SUBORDINATE.split())
"""Begin clauses that may stand anywhere."""
AGENTS = frozenset(("by", "von", "par"))
_BE = """
    is are was were be been being wurde wurden wird est été fut
"""
BE = frozenset(_BE.split())

_OPPOSITES = """
    increase/decrease rise/fall rose/fell rising/falling risen/fallen grow/shrink grew/shrank
    gain/lose gained/lost win/lose won/lost more/less more/fewer most/least most/fewest
    higher/lower high/low highest/lowest larger/smaller large/small largest/smallest
    bigger/smaller longer/shorter long/short longest/shortest older/younger old/young
    oldest/youngest faster/slower fast/slow quicker/slower quickly/slowly early/late
    earlier/later earliest/latest above/below over/under before/after first/last first/second
    second/third upper/lower up/down north/south northern/southern northwards/southwards
    east/west eastern/western eastwards/westwards left/right front/rear front/back
    inside/outside top/bottom beginning/end begin/end began/ended start/end started/ended
    start/stop summer/winter spring/autumn day/night morning/evening am/pm male/female
    man/woman men/women boy/girl husband/wife father/mother brother/sister son/daughter
    king/queen buyer/seller open/closed opened/closed open/close valid/void valid/invalid
    legal/illegal safe/unsafe safe/dangerous guilty/innocent convicted/acquitted
    acquitted/fined accepted/declined accept/decline accepted/refused accepted/rejected
    adopted/rejected passed/rejected allow/forbid allowed/forbidden permitted/forbidden
    permitted/prohibited advance/retreat advanced/retreated double/halve doubled/halved
    accelerate/slow accelerated/slowed speed/slow expand/contract stretch/shrink
    stretches/shrinks praised/disliked praise/dislike liked/disliked success/failure
    succeeded/failed positive/negative strong/weak stronger/weaker heavy/light heavier/lighter
    hot/cold hotter/colder warm/cool warmer/cooler warmed/cooled wet/dry hard/soft dark/light
    darker/paler paler/darker rich/poor richer/poorer better/worse best/worst cheap/expensive
    cheaper/dearer full/empty thick/thin wide/narrow deep/shallow near/far same/different
    same/higher same/lower equal/unequal common/rare often/seldom often/rarely
    frequently/rarely always/never all/none many/few raise/lower raised/lowered raw/cooked
    raw/pasteurised black/white black/colour red/blue red/white red/green buy/sell bought/sold
    import/export imported/exported add/remove added/removed include/exclude included/excluded
    enable/disable enabled/disabled more/equally less/equally higher/equally lower/equally
    more/same rose/same fell/same risen/same fallen/same increased/unchanged
    decreased/unchanged increased/same decreased/same maximum/minimum most/fewest
    single/double major/minor public/private gestiegen/gesunken mehr/weniger höher/niedriger
    sommer/winter vor/nach eröffnet/geschlossen plus/moins rouge/blanc rouges/blancs été/hiver
    avant/après
"""
OPPOSITES: dict[str, frozenset[str]] = {}
for _pair in _OPPOSITES.split():
    _one, _other = _pair.split("/")
    OPPOSITES[_one] = OPPOSITES.get(_one, frozenset()) | {_other}
    OPPOSITES[_other] = OPPOSITES.get(_other, frozenset()) | {_one}
