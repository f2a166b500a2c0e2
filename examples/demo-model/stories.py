"""Little stories with known facts. A plot is text with choices [a|b|c] and slots {name}; "a~ x" becomes "a x" or
"an x". Slots: h hero, e/m/s he/him/his (E/S capital), k "the fox", f/fe/fm/fs/fk the friend, o object, co colour,
p place, inp "in the park", spot, g "a wise owl" and G "the owl" (helper), food, feel (at the end)."""
import re
import zlib

import words as W

INNER = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")


def held_out(*parts):
    """A fixed tenth of all combinations is never shown in training."""
    return zlib.crc32("|".join(str(p) for p in parts).encode()) % 10 == 0


def expand(r, text, slots):
    while True:
        text, n = INNER.subn(lambda m: r.choice(m.group(1).split("|")), text)
        if not n:
            break
    for _ in range(2):
        text = SLOT.sub(lambda m: str(slots[m.group(1)]), text)
    text = re.sub(r"\b([Aa])~ (?=[aeiouAEIOU])", r"\1n ", text)
    text = re.sub(r"\b([Aa])~ ", r"\1 ", text)
    text = re.sub(r"[ \n]+", " ", text).replace(" .", ".").replace(" ,", ",").strip()
    return re.sub(r'(^|[.!?] )("?)([a-z])', lambda m: m.group(1) + m.group(2) + m.group(3).upper(), text)


ONCE = "[One day|One morning|One afternoon|One sunny day|One cold morning|One fine day|One evening|Early one morning|One windy day]"
LATER = "[After a while|Soon|A little later|Then|At last|After a long time|Before long]"
END_ALONE = ("[That night {h} slept [very well|with a smile|like a stone].|And {e} never forgot that day.|"
             "It had been a [wonderful|very good|long but happy] day.|That evening {h} told the whole story at home.|"
             "For many years {h} told this story.|On the way home {e} [sang|whistled] a little song.|"
             "\"What a [day|lovely day|strange day]!\" said {h}, and {e} laughed.|]")
END = ("[From that day on, {h} and {f} were [good|the best of] friends.|They [sat|stayed] together until the stars came "
       "out.|Then everyone went home and had [{food}|warm {food}|some {food}] for supper.|" + END_ALONE[1:])
FEEL_END = "[{h} felt {feel}.|{h} was very {feel}.|{E} felt {feel} and [full of life|a little tired].|Now {h} was {feel}.|Now {e} felt very {feel}.]"

# what: a short phrase for the title of the story; qa: questions with certain answers.
PLOTS = [
 dict(name="lost", use="o", feels=["happy", "glad", "thankful"], text=
  "{h} had a~ {co} {o}. [It was a present from {s} [grandmother|grandfather|aunt|uncle].|{E} loved it more than anything.|{E} took it everywhere.|] "
  + ONCE + ", {h} [went to|walked to|ran to] {p} [to play|with the {o}|to meet a friend]. [{weather}.|] "
  "{E} [played|ran and jumped|danced and played] [all morning|for a long time|until noon]. "
  "[But when {e} wanted to go home, the {o} was gone!|Then {e} looked around, and the {o} was gone.|Suddenly {e} saw that the {o} was not there.] "
  "{h} [looked everywhere|looked here and there|searched and searched], but {e} could not find it. [{E} sat down and [cried|began to cry].|{E} was very sad.|A tear rolled down {s} cheek.] "
  "[Just then|After a while] {g} came by. \"[What is the matter|What is wrong|Why are you so sad]?\" asked {G}. "
  "\"I have lost my {o},\" said {h}. \"[Do not worry|Do not cry|Dry your tears],\" said {G}. \"[I will help you|We will look together|Let us look for it together].\" "
  "[They looked under every leaf.|They looked [left and right|up and down|near and far].|] " + LATER + " {G} [called|shouted], \"[Here it is|I can see it|Come and look]!\" "
  "The {co} {o} [was|lay] {spot}. {h} [laughed|clapped|jumped for joy] and said, \"[Thank you|Thank you so much|Oh, thank you]!\" " + FEEL_END + " " + END,
  qa=[("What did {h} lose?", "{h} lost a~ {co} {o}."), ("What colour was the {o}?", "The {o} was {co}."), ("Who helped {h}?", "{g} helped {h}."),
      ("Where was the {o}?", "The {o} was {spot}."), ("Where did {h} go?", "{h} went to {p}.")]),
 dict(name="stuck", use="o", feels=["happy", "relieved", "thankful"], text=
  ONCE + ", {h} was [playing|walking] {inp} with {s} {co} {o}. [{weather}.|] A [strong|sudden|cold] wind came and [blew the {o} away|took the {o}]. "
  "[It flew up and up|It rolled and flew] and landed [in|at the top of] a [tall|big|very high] tree. \"Oh no!\" cried {h}. \"[My {o}|My poor {o}|My lovely {o}]!\" "
  "{h} [jumped|tried to jump], but {e} was too small. {E} [threw a stick|pulled at a branch|shook the tree], but the {o} did not [fall|come down|move]. "
  "Then {f} came [along|by]. {f} was {fdesc}. \"[Can I help|May I help you|Do you need help]?\" asked {f}. \"[Yes, please|Oh yes|Please do],\" said {h}. \"My {o} is in the tree.\" "
  "{f} [thought for a moment|looked up and smiled]. \"[You can stand on my back|Stand on my back|Climb on my back],\" {fe} said. \"Then you [will be tall enough|can reach it].\" "
  "[So they tried it.|It was a good idea.] {h} [reached up|stretched|stood on {s} toes] and [took|caught|got] the {o}. \"[We did it|Hooray|I have it]!\" {e} cried. "
  "[After that they played together [all day|until dark|all afternoon].|Then they played with the {o} together.] " + FEEL_END + " " + END,
  qa=[("Where did the {o} land?", "The {o} landed in a tree."), ("Who helped {h}?", "{f} helped {h}."), ("What colour was the {o}?", "The {o} was {co}."),
      ("What blew the {o} away?", "The wind blew the {o} away.")]),
 dict(name="sharing", use="food", feels=["happy", "glad"], text=
  ONCE + ", {h} [had|got] [some|a big plate of|a whole basket of] {food}. It [smelled|looked] [wonderful|so good|sweet and warm]. {h} took it to {p} [to eat it in peace|for a picnic|and sat down]. "
  "[Then|Just then] {f} came [by|along]. {f} was {fdesc}. {Fe} looked [hungry|tired and hungry|thin and cold]. \"[I have not eaten all day|I am so hungry|I have no food today],\" said {f}. "
  "At first {h} did not want to share. [\"It is mine,\" {e} thought.|The {food} was so good!|{E} held it close.] But then {e} [saw the sad eyes of {f}|looked at {f} again|thought of {s} mother]. "
  "\"[Come and sit with me|Sit down|Come here],\" said {h}. \"[You can have half|There is enough for two|We can share it].\" "
  "So they [ate|shared] the {food} together, and [it tasted even better|they talked and laughed|it was the best meal of the year]. "
  "[\"Thank you,\" said {f}. \"You are very kind.\"|\"You have a good heart,\" said {f}.] [The next day {f} came back with [a bag of nuts|some sweet plums|a jar of honey] for {h}.|] {h} learned that [sharing makes us happy|food tastes better with a friend|it is good to share]. " + FEEL_END + " " + END,
  qa=[("What did {h} share?", "{h} shared the {food}."), ("Who was hungry?", "{f} was hungry."), ("What did {h} learn?", "{h} learned that it is good to share."),
      ("Where did {h} eat?", "{h} ate {inp}.")]),
 dict(name="fear", use="fear", feels=["brave", "proud"], text=
  "[There was one problem.|But {h} had a secret.|{h} liked many things, but not everything.] {h} was [very |]afraid of {fear}. [{E} never told anyone.|The others laughed at {m}.|It made {m} sad.] "
  + ONCE + ", {h} and {f} [were|played] {inp}. {f} was {fdesc}. [They had a lot of fun.|They sang a song.|{weather}.] "
  "{cause} {h} began to [shake|tremble|cry]. \"What is wrong?\" asked {f}. \"I am afraid of {fear},\" [whispered|said] {h}. {f} did not laugh. "
  "\"[I was afraid too|Everyone is afraid of something|That is all right],\" said {f}. \"[Take my hand|Hold on to me|Stay close to me], and we will [try together|be brave together|do it step by step].\" "
  "{h} [took a deep breath|closed {s} eyes and counted to three|held on tight]. [Slowly|Little by little|Step by step] the fear [went away|became smaller|grew small]. "
  "\"[It is not so bad|I can do it|I am not afraid any more]!\" [cried|said] {h}. {f} [smiled|cheered|clapped]. " + FEEL_END + " [Now {e} was not afraid of {fear} any more.|After that, {fear} did not frighten {m}.|] " + END,
  qa=[("What was {h} afraid of?", "{h} was afraid of {fear}."), ("Who helped {h}?", "{f} helped {h}."), ("How did {h} feel at the end?", "{h} felt {feel}.")]),
 dict(name="broken", use="o", feels=["relieved", "happy", "glad"], text=
  "{h} and {f} were [good|best|old] friends. {f} was {fdesc}. {f} had a~ {co} {o}. " + ONCE + ", {h} [played with|borrowed|took] the {o} [without asking|while {f} was away|for a little while]. "
  "[{E} was not careful.|{E} ran too fast.|{E} slipped on the wet grass.] [Crack!|Crash!|Bump!] The {o} fell down and broke. \"Oh no!\" said {h}. [{E} wanted to hide it.|\"What will {f} say?\"|{S} heart beat fast.] "
  "{h} [thought for a long time|could not sleep that night|felt very bad]. [In the end|At last|The next morning] {e} went to {f} and told the truth. \"I broke your {o},\" {e} said. \"I am very sorry.\" "
  "{f} was [sad|quiet] for a moment. Then {fe} said, \"[Thank you for telling me|I am glad that you told me the truth|It was brave to tell me].\" "
  "[Together they|The two friends] [mended|fixed] the {o} with [glue|string|glue and paper], and [soon it was as good as new|it looked even better than before|painted a star on it]. "
  "{h} learned that [it is best to tell the truth|the truth is always better|a friend can forgive]. " + FEEL_END + " " + END,
  qa=[("What did {h} break?", "{h} broke the {o} of {f}."), ("Whose {o} was it?", "It was the {o} of {f}."), ("What did {h} learn?", "{h} learned that it is best to tell the truth."),
      ("What colour was the {o}?", "The {o} was {co}.")]),
 dict(name="build", use="build", feels=["proud", "happy"], text=
  ONCE + ", {h} and {f} [met|were] {inp}. {f} was {fdesc}. [\"I have an idea,\" said {h}. \"Let us build {build}!\"|\"Let us build {build},\" said {f}.|They wanted to build {build}.] "
  "They worked [all morning|for hours|very hard]. [{h} carried the big parts and {f} carried the small ones.|They sang while they worked.|It was hard work, but it was fun.] "
  "[But then|Then suddenly] [a big wave|a strong wind|the rain] came, and [everything fell down|all their work was gone|it broke into pieces]. "
  "\"[It is no use|Now it is all gone|I give up],\" said {f}. \"[No|Wait|Do not be sad],\" said {h}. \"[We can try again|Now we know how to do it better|We will make it stronger].\" "
  "This time they [took more time|used bigger stones|looked for a better place|asked {g} for help]. [In the evening|When the sun went down|At last] {build} stood there, [strong and fine|bigger than before|safe and strong]. "
  "\"[We never gave up|We did it together|Look what we made]!\" said {f}. " + FEEL_END + " " + END,
  qa=[("What did they build?", "They built {build}."), ("Who worked with {h}?", "{f} worked with {h}."), ("Where were they?", "They were {inp}.")]),
 dict(name="baby", use="baby", feels=["happy", "glad", "proud"], text=
  ONCE + ", {h} [heard a [small|strange|soft] [sound|noise|cry]|heard someone cry|heard a sad little voice] {inp}. [{E} looked around.|{weather}.|] There, {spot}, sat a baby {baby}. It was [cold and alone|wet and afraid|all alone]. "
  "\"[Where is your mother|Are you lost|Why are you alone]?\" asked {h}. \"I [do not know|cannot find my mother|am lost],\" [cried|said] the baby {baby}. {h} [gave it some {food}|wrapped it in a warm cloth|sat down beside it]. "
  "\"[Come with me|Do not be afraid|I will help you],\" {e} said. \"We will find your mother.\" They asked {g}, but {G} [did not know|had not seen her|shook {gs} head]. "
  "They [walked and walked|crossed a stream|went over the hill]. " + LATER + " they heard a voice. \"My baby! [There you are|I have looked for you all day|Here I am]!\" It was the mother {baby}. "
  "[She hugged the little one.|The baby {baby} ran to her.|] \"[Thank you so much|Thank you with all my heart|You are very kind],\" she said to {h}. " + FEEL_END + " " + END,
  qa=[("What did {h} find?", "{h} found a baby {baby}."), ("Where was the baby {baby}?", "The baby {baby} was {spot}."), ("Whom did they ask?", "They asked {g}."),
      ("Who was looking for the baby {baby}?", "The mother {baby} was looking for it.")]),
 dict(name="race", use="prize", feels=["proud", "happy", "surprised"], text=
  ONCE + " there was a [big|great] race {inp}. The prize was {prize}. [Everybody wanted to win.|All the neighbours came to watch.|] {f} was {fdesc} and very fast. \"I will win,\" said {f}. \"[Nobody is as fast as I am|You are much too slow|I can win with my eyes closed].\" "
  "{h} was not fast, but {e} [never gave up|was very patient|wanted to try]. \"[I will do my best|We will see|I will try anyway],\" said {h}. [One, two, three, go!|The bell rang and the race began.] "
  "{f} ran [like the wind|so fast that the dust flew]. [Soon|Half way] {fe} was far ahead. \"[I have so much time|I can take a rest|No one can catch me],\" {fe} thought, and {fe} [lay down under a tree|stopped to eat some {food}|sat down in the shade]. [Soon {fe} fell asleep.|{Fe} closed {fs} eyes.] "
  "{h} went on, step by step, [and did not stop|slowly but surely]. When {f} [woke up|opened {fs} eyes], {h} was [almost there|at the end already]. {f} ran and ran, but [it was too late|{h} was first]. "
  "{h} won {prize}! \"[I was too proud|Next time I will not sleep|You did very well],\" said {f}. " + FEEL_END + " " + END,
  qa=[("Who won the race?", "{h} won the race."), ("What was the prize?", "The prize was {prize}."), ("Who was fast?", "{f} was fast."), ("Where was the race?", "The race was {inp}.")]),
 dict(name="storm", use="none", feels=["safe", "happy"], text=
  ONCE + ", {h} was far from home, {inp}. [At first {weather_low}.|{E} picked flowers and sang.|] [Then|Suddenly] the sky [became dark|turned black|grew grey], and it began to [rain|snow|rain very hard]. [Thunder rolled over the hills.|The wind was cold.|] "
  "\"[Where can I go?|What shall I do?|I must find a dry place!]\" [thought|said] {h}. {E} ran and ran. [Then|At last] {e} saw a [small|yellow|warm] light. It was the house of {f}. {f} was {fdesc}. "
  "[{h} knocked at the door.|Knock, knock!] \"[Who is there|Who is out in this weather]?\" asked {f}. \"It is me, {h}. [May I come in?|I am cold and wet.]\" {f} opened the door [at once|right away]. \"[Come in, come in|Come to the fire|You poor thing],\" {fe} said. "
  "{f} gave {m} [a cup of hot tea|a warm blanket|some hot soup] and [some|a plate of] {food}. They [told stories|sang songs|played games] [by the fire|while the rain fell|until the storm was over]. "
  "[In the morning|When the storm was over] [the sun was shining again|a rainbow stood in the sky]. \"[A friend in the rain is a true friend|Thank you for everything|You saved me],\" said {h}. " + FEEL_END + " " + END,
  qa=[("Whose house was it?", "It was the house of {f}."), ("What did {f} give {h} to eat?", "{f} gave {h} {food}."), ("Where was {h} when the storm began?", "{h} was {inp}.")]),
 dict(name="treasure", use="o", feels=["happy", "surprised", "glad"], text=
  ONCE + ", {h} found an old map [in a book|in a bottle|under the roof|in an old box]. [It showed {p}.|There was a red cross near {p}.] \"[A treasure map|This must be a treasure]!\" said {h}. {E} ran to {f} at once. {f} was {fdesc}. \"Will you come with me?\" asked {h}. \"[Of course|Yes, I will|Let us go],\" said {f}. "
  "They walked [over a bridge|through the tall grass|past a dark cave|along a narrow path]. [It was a long way.|{weather}.|{f} was a little afraid, but {fe} went on.] [At {p}|There] they began to dig. They dug and dug. [Clunk!|Then they hit something hard.] It was [a wooden box|an old chest|a small iron box]. "
  "[Inside there was|In it they found] a~ {co} {o} and a letter. The letter said, \"[The real treasure is the friend beside you|A good friend is better than gold|Share this and be happy].\" {h} and {f} looked at each other and [laughed|smiled]. "
  "\"[It is true|That is right|I think so too],\" said {f}. [They took turns with the {o}.|They kept the {o} together.] " + FEEL_END + " " + END,
  qa=[("What did {h} find first?", "{h} found an old map."), ("What was in the box?", "There was a~ {co} {o} and a letter in the box."), ("Who went with {h}?", "{f} went with {h}.")]),
 dict(name="birthday", use="o", feels=["happy", "surprised"], text=
  "It was the birthday of {f}. {f} was {fdesc}. {h} wanted to give {fm} [a special present|something nice|a lovely present], but {e} had no money. [\"What can I do?\" {e} thought.|{E} thought and thought.|] "
  "{E} went to {p} and [asked {g}|met {g}]. \"[You can make something|Make a present with your own hands|The best present is one that you make],\" said {G}. [That was a good idea!|{h} smiled.|] "
  "So {h} [sat down and worked|worked all day|worked until late at night] and made a~ {co} {o}. [It was not perfect, but it was pretty.|{E} put a ribbon on it.|{E} wrapped it in paper.] "
  "In the evening {h} gave it to {f}. {f} opened the present and [{fs} eyes became big|laughed with joy|could not believe it]. \"[Did you make it yourself|Is this for me]?\" {fe} asked. \"[Yes|Yes, just for you],\" said {h}. \"[It is the best present of all|I love it|I will keep it for ever],\" said {f}. They ate {food} and danced. " + FEEL_END + " " + END,
  qa=[("Whose birthday was it?", "It was the birthday of {f}."), ("What did {h} make?", "{h} made a~ {co} {o}."), ("What did they eat?", "They ate {food}."), ("What colour was the {o}?", "The {o} was {co}.")]),
 dict(name="learn", use="skill", feels=["proud", "happy"], text=
  "{h} wanted to {skill}. [All {s} friends could do it, but {e} could not.|It looked so easy!|{E} dreamed of it every night.] " + ONCE + ", {e} went to {p} and tried. [But it was hard.|It did not work.|{E} fell down.] {E} tried again, and again it [went wrong|did not work]. \"I will never learn it,\" said {h} [sadly|and sat down|with tears in {s} eyes]. "
  "{f} [saw {m}|was there too|heard {m}]. {f} was {fdesc}. \"[I also needed a long time|Nobody can do it on the first day|You must practise],\" said {f}. \"[Come every day, and I will show you|I will teach you|Let me show you].\" "
  "So {h} practised [every day|each morning|day after day]. [On Monday it was bad. On Tuesday it was a little better.|Sometimes {e} wanted to stop, but {f} cheered for {m}.|Slowly it became better.] "
  "[And then|One week later|After ten days], [it worked|{e} could do it]! \"[Look at me|I can do it|Look, {f}]!\" cried {h}. \"I can {skill}!\" {f} [clapped|cheered|jumped with joy]. " + FEEL_END + " " + END,
  qa=[("What did {h} want to learn?", "{h} wanted to {skill}."), ("Who helped {h}?", "{f} helped {h}."), ("Where did {h} practise?", "{h} practised {inp}.")]),
 dict(name="newfriend", use="o", feels=["happy", "glad"], text=
  "{h} had no friends, because {e} was new [in the village|here|in the valley]. [Every day {e} played alone.|{E} was often sad.|The days were long.] " + ONCE + ", {e} took {s} {co} {o} and went to {p}. [{weather}.|] There {e} saw {f}. {f} was {fdesc}. {Fe} sat [alone|on a stone|in the shade] and [looked sad|said nothing|looked at the ground]. "
  "{h} was [shy|a little afraid], but {e} [went closer|took a step forward]. \"Hello,\" said {h}. \"[Would you like to play with me|Do you want to see my {o}|May I sit here]?\" {f} looked up. \"[I would love to|Yes, please|Oh yes],\" {fe} said. \"[I thought that nobody liked me|I am new here too|I have been waiting for a friend].\" "
  "They played with the {co} {o} [all day|until the sun went down|until supper]. [They laughed so much that their bellies hurt.|They told each other their secrets.|They shared some {food}.] \"[Will you come back tomorrow|Shall we meet again]?\" asked {f}. \"[Yes, every day|Of course|I promise],\" said {h}. " + FEEL_END + " " + END,
  qa=[("Why was {h} alone?", "{h} was alone because {e} was new."), ("Whom did {h} meet?", "{h} met {f}."), ("What did {h} take along?", "{h} took a~ {co} {o} along.")]),
 dict(name="oldhelp", use="o", feels=["glad", "happy", "proud"], text=
  ONCE + ", {h} met {g} {inp}. {G} [carried a heavy bag|pulled a heavy cart|looked very tired]. [Many people walked by, but nobody helped.|{weather}.|] \"[Can I help you|May I carry that|That looks heavy. Can I help you]?\" asked {h}. \"[Oh yes, please|That is very kind|You have a good heart],\" said {G}. "
  "[Together they walked up the hill.|{h} pushed with all {s} strength.|It was a long way, but {h} did not stop.] [They talked about the old days.|{h} told a funny story, and {G} laughed.|] At the door {G} said, \"[Wait a moment|I have something for you|Take this].\" It was a~ {co} {o}. "
  "\"[I do not need a present|I was glad to help],\" said {h}. \"[I know|That is why I give it to you],\" said {G}. \"[A kind heart should have something nice|Kind deeds come back to you|Think of me when you see it].\" {h} [said thank you|ran home with the {o}|showed the {o} to everyone]. " + FEEL_END + " " + END,
  qa=[("Whom did {h} help?", "{h} helped {g}."), ("What did {h} get?", "{h} got a~ {co} {o}."), ("Where did {h} meet {G}?", "{h} met {G} {inp}.")]),
 dict(name="seed", use="seed", feels=["proud", "happy"], text=
  ONCE + ", {g} gave {h} a small {seed} seed. \"[Put it in the earth|Plant it and be patient|Take good care of it],\" said {G}. {h} [dug a little hole|found a sunny place] {inp} and planted the seed. [{E} gave it water.|Then {e} sat down and waited.] "
  "The next day [nothing happened|there was nothing to see]. [Two days later there was still nothing.|A week went by.] \"[Maybe it is asleep|It is not growing|Perhaps it is broken],\" said {h}. {f} [laughed at {m}|came to look]. {f} was {fdesc}. \"[You must wait|Good things need time|Give it more water and sun],\" said {f}. "
  "{h} gave it water every day [and sang to it|and pulled out the weeds|and told it stories]. Then, one morning, a tiny green leaf looked out of the earth! \"[It is growing|Look, it is alive|Come and see]!\" cried {h}. It grew and grew, and in the summer there was {plant}. [Everyone came to see it.|{f} could hardly believe it.] {h} learned that [good things need time|it is good to be patient]. " + FEEL_END + " " + END,
  qa=[("Who gave {h} the seed?", "{g} gave {h} the seed."), ("What grew from the seed?", "{plant} grew from the seed."), ("What did {h} learn?", "{h} learned that good things need time.")]),
 dict(name="wish", use="o", feels=["happy", "content", "thankful"], text=
  ONCE + ", {h} saw a star fall from the sky. It fell down near {p}. {h} [ran there|went to look|walked there in the dark]. The star was [small and warm|as small as a nut|bright and round]. \"[Please help me|I am so far from home|I am lost],\" said the star. \"[If you take me to the top of the hill, you may make a wish|Carry me up the hill and you will have one wish].\" "
  "{h} put the star in {s} {co} {o} and [climbed up|began to climb]. [The way was steep and dark, but the star gave light.|It was cold, but the star was warm.] On the way {e} met {f}. {f} was {fdesc}. {Fe} was [crying|very sad], because {fe} [could not find the way home|was alone|was ill]. "
  "At the top the star said, \"Now make your wish.\" {h} had wanted [gold|a big house|new shoes]. But {e} said, \"I wish that {f} is [happy again|well again].\" The star [smiled|shone] and flew up into the sky. {f} [laughed|was well and happy]. \"[You gave your wish to me|Thank you, {h}]!\" said {f}. " + FEEL_END + " " + END,
  qa=[("What fell from the sky?", "A star fell from the sky."), ("For whom did {h} make the wish?", "{h} made the wish for {f}."), ("What did {h} carry the star in?", "{h} carried the star in a~ {co} {o}.")]),
 dict(name="greedy", use="food", feels=["sorry", "wiser", "ashamed"], text=
  "{h} loved {food}. [{E} could eat it all day.|Nothing in the world was better.|] " + ONCE + ", there was a big [party|feast] {inp}, with {food} for everyone. {f}, {fdesc}, was there too. [\"Take one piece each,\" said {g}.|Everyone took a little.] But {h} took [one piece, then two, then three|more and more|all that {e} could carry]. "
  "\"[Leave some for us|Please stop|That is too much],\" said {f}. {h} did not listen. {E} ate and ate [until nothing was left|until the plate was empty]. Then {s} belly began to hurt. \"[Ouch, ouch|Oh, my belly|I feel so ill]!\" cried {h}. {E} had to lie down [under a tree|in the grass], and {e} could not [play|dance|sing] with the others. "
  "{f} brought {m} [a cup of warm tea|some water] and sat with {m}. \"[I am sorry|I was greedy|I took too much],\" said {h}. \"[Next time I will share|Tomorrow I will make {food} for all of you].\" And {e} did. {h} learned that [too much is not good|it is better to share]. " + FEEL_END + " " + END,
  qa=[("What did {h} love?", "{h} loved {food}."), ("Why did {h} feel ill?", "{h} ate too much {food}."), ("Who brought {h} something to drink?", "{f} brought it.")]),
 dict(name="key", use="o", feels=["happy", "amazed"], text=
  ONCE + ", {h} found a [tiny|rusty|golden] key {spot}. \"[What does it open|Where is the door]?\" [{e} asked|thought {h}]. {E} tried it on [the garden gate|the barn|an old chest], but it did not fit. {E} asked {g}. \"[Look near the big oak|Go to {p}|There is a small door at {p}],\" said {G}. "
  "So {h} went to {p} with {s} friend {f}. {f} was {fdesc}. Behind the [ivy|bushes|tall grass] they saw a little door. [{h} put the key in.|Click! The key turned.] [The door opened slowly.|They held their breath.] Behind it was [a secret garden|a hidden garden|a small green valley], full of [flowers|butterflies|singing birds]. In the middle [lay|stood] a~ {co} {o}. "
  "\"[It is beautiful|What a wonderful place|I have never seen anything like it],\" [whispered|said] {f}. \"[This will be our secret|We will come here every day|We must take care of it],\" said {h}. They played there until [the evening|it was time for supper]. " + FEEL_END + " " + END,
  qa=[("What did {h} find?", "{h} found a key."), ("Where was the key?", "The key was {spot}."), ("What was behind the door?", "There was a garden behind the door."), ("Who went with {h}?", "{f} went with {h}.")]),
]

INTRO_PERSON = ("[Once upon a time there was|Once upon a time there lived|Long ago there lived|There once was|There was once] a~ {adj} {kind} named {h}. [{E} lived {home}.|]"
  "|{h} was a~ {adj} {kind} who lived {home}.|{home}, there lived a~ {adj} {kind} named {h}.|A~ {adj} {kind} named {h} lived {home}."
  "|Once upon a time, {home}, there was a~ {adj} {kind} called {h}.|There was a~ {adj} {kind}. {S} name was {h}. [{E} lived {home}.|]"
  "|Once upon a time, a~ {adj} {kind} named {h} lived {home}.|The {adj} {kind} {h} lived {home}."
  "|In a faraway land there lived a~ {kind} named {h}. {E} was very {adj}.|Once there was a~ {kind} [named|called] {h}."
  "|Many years ago, a~ {adj} {kind} named {h} lived {home}.|There lived {home} a~ {adj} {kind} called {h}.")

PRIZES = ["a golden cup", "a big cake", "a basket of apples", "a silver bell", "a jar of honey", "a red ribbon"]
BABIES = ["bird", "rabbit", "duck", "fox", "seal", "owl", "deer", "hedgehog", "bear", "goat"]


def made_up_name(r):
    """A name that is in no list, so that names have to be copied and cannot only be remembered: of syllables, of pieces
    of other words, or of letters, so that every token of the vocabulary comes up in names."""
    while True:
        roll = r.random()
        if roll < 0.3:
            name = r.choice(W.SYLLABLES_A) + (r.choice(W.SYLLABLES_B) if r.random() < 0.4 else "") + r.choice(W.SYLLABLES_C)
        elif roll < 0.7:
            name = "".join(piece(r) for _ in range(r.randint(1, 3))).capitalize()
        else:
            name = "".join(r.choice(W.ONSETS) + r.choice(W.VOWELS) for _ in range(r.randint(1, 3))) + r.choice(W.CODAS)
            name = name.capitalize()
        if len(name) > 2 and name not in W.HELD_NAMES:
            return name


def piece(r):
    """Two to five letters from anywhere in a word."""
    word = r.choice(PIECES)
    n = min(len(word), r.randint(2, 5))
    at = r.randint(0, len(word) - n)
    return word[at:at + n]


def make_character(r, animal=None, kind=None, name=None, held_names=False):
    """A person or an animal; kinds that are not in the lists are welcome."""
    if animal is None:
        animal = kind not in ("girl", "boy") if kind else r.random() < 0.55 and name is None
    if animal:
        if kind is None:
            roll = r.random()
            kind = r.choice(sorted(W.ANIMALS)) if roll < 0.75 else r.choice(sorted(W.FOLK)) if roll < 0.92 \
                else r.choice(W.RARE_KINDS)
        name = name or r.choice(W.HELD_NAMES if held_names else
                                W.PET_NAMES if r.random() < 0.8 else W.GIRLS + W.BOYS)
        if not held_names and r.random() < 0.4 and name in W.PET_NAMES:
            name = made_up_name(r)
        she = r.random() < 0.5
        home = W.ANIMALS.get(kind) or W.FOLK.get(kind) or r.choice(W.HOMES)
        adj = r.choice(W.ANIMAL_ADJ)
    else:
        if name is None:
            pool = W.HELD_NAMES if held_names else W.GIRLS if r.random() < 0.5 else W.BOYS
            name = r.choice([n for n in pool if kind is None or (n in FEMALE) == (kind == "girl")] or pool)
            if not held_names and r.random() < 0.4:
                kind = kind or r.choice(["girl", "boy"])
                name = made_up_name(r)
        she = name in FEMALE or kind == "girl"
        kind = kind or ("girl" if she else "boy")
        home, adj = r.choice(W.HOMES), r.choice(W.KIDS_ADJ)
    if name in FEMALE or kind in ("princess", "queen", "witch", "fairy", "hen", "girl"):
        she = True
    elif name in MALE or kind in ("prince", "king", "wizard", "boy"):
        she = False
    return dict(name=name, kind=kind, she=she, adj=adj, home=home)


def pronouns(she):
    return ("she", "her", "her") if she else ("he", "him", "his")


def make_story(r, split="train", hero=None, plot=None, o=None, co=None, place=None, friend=None, intro=None):
    """A story as a dict: text, qa (pairs of question and answer), slots, plot, hero, friend. A split of "held" uses
    a name that training never sees or a pair of hero and object that it never sees."""
    given = hero
    while True:
        hero = given or make_character(r, held_names=split == "held" and r.random() < 0.6)
        p = plot or r.choice(PLOTS)
        if o and p["use"] != "o":
            continue
        thing = o or r.choice(THINGS.get(p["name"], W.OBJECTS))
        seen = not (p["use"] == "o" and held_out(hero["name"], thing)) and hero["name"] not in W.HELD_NAMES
        if given or seen == (split == "train"):
            break
    pal = friend
    while pal is None or pal["name"] == hero["name"] or pal["kind"] == hero["kind"] and friend is None:
        pal = make_character(r)
    friend = pal
    e, m, s = pronouns(hero["she"])
    fe, fm, fs = pronouns(friend["she"])
    helper = r.choice([g for g in W.HELPERS if g.split()[-1] not in (hero["kind"], friend["kind"])])
    noun = helper.split()[-1]
    G = "the old " + noun if noun in ("woman", "man") else "the " + noun
    place = place or r.choice(sorted(W.PLACES))
    seed = r.choice(sorted(W.SEEDS))
    weather = r.choice(W.WEATHER)
    fear = r.choice(sorted(W.FEARS))
    slots = dict(h=hero["name"], e=e, m=m, s=s, E=e.title(), S=s.title(), kind=hero["kind"], adj=hero["adj"],
                 home=hero["home"], f=friend["name"], fe=fe, fm=fm, fs=fs, Fe=fe.title(), Fs=fs.title(),
                 fkind=friend["kind"], fdesc="a~ %s %s" % (friend["adj"], friend["kind"]), o=thing,
                 co=co or r.choice(W.COLOURS), p=place, inp=W.PLACES[place] + " " + place, spot=r.choice(W.SPOTS),
                 g=helper, G=G, gs="her" if noun in ("woman", "goose") else "his", food=r.choice(W.FOODS),
                 feel=r.choice(p["feels"]), fear=fear, cause=W.FEARS[fear], skill=r.choice(sorted(W.SKILLS)),
                 build=r.choice(W.BUILDS), seed=seed, plant=W.SEEDS[seed], weather=weather,
                 weather_low=weather[0].lower() + weather[1:], prize=r.choice(PRIZES),
                 baby=r.choice([b for b in BABIES if b not in (hero["kind"], friend["kind"])]))
    intro = intro or r.choice(INTROS if r.random() < 0.75 else DAY_INTROS)
    body = p["text"] if "{fdesc}" in p["text"] else p["text"].replace(END, END_ALONE)
    if intro.startswith(("One day", "One morning", "It was")):
        body = body.replace(ONCE, "[That day|A little later|Later that day|Then]")
    text = expand(r, intro + " " + body, slots)
    qa = p["qa"] + [("Who is the story about?", "The story is about {h}."), ("Who is {h}?", "{h} is a~ {adj} {kind}.")]
    if "{f} was {fdesc}" in body:
        qa = qa + [("Who is {f}?", "{f} is {fdesc}.")]
    if hero["kind"] != friend["kind"]:
        qa = qa + [("What is the name of the {kind}?", "The name of the {kind} is {h}.")]
    if FEEL_END in body:
        qa = qa + [("How did {h} feel at the end?", "{h} felt {feel}.")]
    return dict(text=text, qa=[(expand(r, q, slots), expand(r, a, slots)) for q, a in qa], slots=slots,
                plot=p["name"], hero=hero, friend=friend)


PIECES = [w for w in sorted(set(" ".join(W.OBJECTS + W.HOMES + W.FOODS + W.HELPERS + list(W.ANIMALS.values()) + W.GIRLS + W.BOYS +
                                        W.CITIES + W.JOBS + list(W.CAPITALS) + W.RARE_KINDS).lower().split())) if w.isalpha()]
FEMALE = set(W.GIRLS + W.HELD_GIRLS)
MALE = set(W.BOYS) | set(W.HELD_NAMES) - set(W.HELD_GIRLS)
LIGHT = ["kite", "hat", "scarf", "balloon", "paper plane", "feather", "umbrella", "mitten", "map", "blanket"]
THINGS = {  # where not every object makes sense
    "stuck": LIGHT, "wish": ["basket", "bag", "hat", "box", "cup", "lantern", "scarf", "mitten"],
    "broken": ["cup", "toy boat", "drum", "lantern", "bell", "flute", "doll", "wooden horse", "toy train", "kite",
               "whistle", "umbrella"],
    "birthday": ["kite", "scarf", "hat", "toy boat", "paper plane", "basket", "doll", "wooden horse", "drum", "bag",
                 "whistle", "flute", "lantern", "ring", "blanket"],
    "newfriend": ["ball", "kite", "doll", "drum", "toy boat", "marble", "toy train", "wooden horse", "flute",
                  "paper plane", "whistle", "balloon", "book"],
}


def split_top(text):
    """Split on | outside brackets."""
    out, depth, cur = [], 0, ""
    for c in text:
        depth += (c == "[") - (c == "]")
        if c == "|" and depth == 0:
            out.append(cur)
            cur = ""
        else:
            cur += c
    return out + [cur]


INTROS = split_top(INTRO_PERSON)
DAY_INTROS = [
    "One day, a~ {adj} {kind} named {h} [woke up early|went for a walk|looked out of the window].",
    "One day a~ {kind} [named|called] {h} [woke up|set out to see the world|went out to play].",
    "One morning, {h} the {kind} [woke up early|jumped out of bed|opened the door].",
    "It was a [rainy|sunny|windy|cold] day, and {h}, a~ {adj} {kind}, was [at home|a little bored|full of plans].",
]
