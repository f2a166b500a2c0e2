"""Conversations: each task draws one as a list of turns [(role, text), ...]. split="held" draws only what training
never sees: other names, other pairs of numbers, other combinations of things."""
import json

import stories as S
import words as W
from stories import expand, held_out


def pick(r, split, draw, key):
    """Draw until the combination belongs to the split."""
    while True:
        x = draw()
        if held_out(*key(x)) == (split == "held"):
            return x


def join(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def vary(r, text):
    """People type as they like: small letters, no full stop."""
    roll = r.random()
    if roll < 0.08:
        return text.lower()
    if roll < 0.16 and text[-1] in ".?":
        return text[:-1]
    return text


def new_name(r):
    if r.random() < 0.5:
        return S.made_up_name(r)
    return r.choice(W.GIRLS + W.BOYS)


def person(r, split):
    return r.choice(W.HELD_NAMES) if split == "held" else new_name(r)


def story_begin(r, split):
    """A user's turn that only begins a story is answered by the whole story."""
    st = S.make_story(r, split)
    words = st["text"].split(" ")
    roll = r.random()
    if roll < 0.25 and st["text"].startswith("Once upon a time"):
        n = 4
    elif roll < 0.8:
        n = r.randint(2, 9)
    else:
        n = r.randint(8, 28)
    start = " ".join(words[:n])
    if r.random() < 0.4:
        start = start.rstrip(",.")
    if r.random() < 0.08:
        start = start + "..."
    elif r.random() < 0.08:
        start = start[0].lower() + start[1:]
    return [("user", start), ("assistant", st["text"])]


def story_asked(r, split):
    tell = "[Tell me|Write|Please tell me|Can you tell me|Write me|Please write|I would like|Tell]"
    what = "[a story|a little story|a short story|a story]"
    roll = r.random()
    if roll < 0.12:
        st = S.make_story(r, split)
        ask = expand(r, "[Tell me a story.|Tell me a short story.|Write a story.|A story, please.|Please tell me a story.|"
                        "Can you tell me a story?|I want a story.|Tell me another story.|Write a short story.|Story]", {})
        return [("user", ask), ("assistant", st["text"])]
    if roll < 0.18:
        name, ask = r.choice([("sharing", "sharing"), ("fear", "courage"), ("fear", "being brave"), ("broken", "the truth"),
                              ("newfriend", "friendship"), ("birthday", "a birthday"), ("treasure", "a treasure"),
                              ("race", "a race"), ("storm", "a storm"), ("seed", "a seed"), ("wish", "a star"),
                              ("wish", "a wish"), ("learn", "learning"), ("greedy", "someone greedy"),
                              ("key", "a key"), ("lost", "something lost"), ("storm", "rain"), ("baby", "a lost child")])
        st = S.make_story(r, split, plot=next(p for p in S.PLOTS if p["name"] == name))
        about = ask
    else:
        hero = S.make_character(r, held_names=split == "held" and r.random() < 0.5)
        kw = {}
        named = r.random() < 0.4
        about = "a~ %s%s" % (hero["adj"] + " " if r.random() < 0.25 else "", hero["kind"])
        if named:
            about += r.choice([" named ", " called "]) + hero["name"]
        elif hero["kind"] in ("girl", "boy") and r.random() < 0.7:
            about = hero["name"]
        roll = r.random()
        if roll < 0.25:
            kw["friend"] = S.make_character(r)
            while kw["friend"]["kind"] == hero["kind"] or kw["friend"]["name"] == hero["name"]:
                kw["friend"] = S.make_character(r)
            f = kw["friend"]
            about += " and " + (f["name"] if f["kind"] in ("girl", "boy") and r.random() < 0.6 else "a~ " + f["kind"])
        elif roll < 0.5:
            p = r.choice([p for p in S.PLOTS if p["use"] == "o"])
            o = pick(r, "train", lambda: r.choice(S.THINGS.get(p["name"], W.OBJECTS)), lambda x: (hero["name"], x)) \
                if split == "train" else r.choice(S.THINGS.get(p["name"], W.OBJECTS))
            kw.update(plot=p, o=o, co=r.choice(W.COLOURS))
            about += r.choice([" and ", " who has ", " with "]) + "a~ " + \
                (kw["co"] + " " if r.random() < 0.6 else "") + o
        elif roll < 0.65:
            kw["plot"] = r.choice([p for p in S.PLOTS if "{p}" in p["text"] or "{inp}" in p["text"]])
            kw["place"] = r.choice(sorted(W.PLACES))
            about += " " + W.PLACES[kw["place"]] + " " + kw["place"]
        st = S.make_story(r, "train" if split == "train" else "held", hero=hero, **kw)
    ask = expand(r, "%s %s about %s[.|.|.|]" % (tell, what, about), {})
    if ask.startswith("Can you"):
        ask = ask.rstrip(".") + "?"
    return [("user", vary(r, ask)), ("assistant", st["text"])]


def story_raw(r, split):
    return [("raw", S.make_story(r, split)["text"])]


def story_qa(r, split):
    st = S.make_story(r, split)
    text = full = st["text"]
    if r.random() < 0.35:
        n = r.randint(4, 8)
        cut = ". ".join(text.split(". ")[:n])
        text = cut if cut[-1] in ".!?\"" else cut + "."
    # Ask only what the text still says.
    qa = [(q, a) for q, a in st["qa"] if text == full or said(a, text)]
    if not qa:
        qa = [("Who is the story about?", "The story is about %s." % st["slots"]["h"])]
    r.shuffle(qa)
    q, a = qa[0]
    turns = []
    roll = r.random()
    if roll < 0.4:
        turns += [("user", text + "\n\n" + q), ("assistant", a)]
    elif roll < 0.6:
        turns += [("user", "Read this story: " + text + "\n\nQuestion: " + q), ("assistant", a)]
    elif roll < 0.75:
        turns += [("user", q + "\n\n" + text), ("assistant", a)]
    else:
        turns += [("user", "Once upon a time" if full.startswith("Once upon a time") and r.random() < 0.4 else
                   r.choice(["Tell me a story.", "Tell me a story about %s." % st["slots"]["h"]])), ("assistant", full)]
        qa = list(st["qa"])
        r.shuffle(qa)
        turns += [("user", qa[0][0]), ("assistant", qa[0][1])]
    for q, a in qa[1:1 + r.choice([0, 0, 1, 2])]:
        turns += [("user", q), ("assistant", a)]
    return turns


def said(answer, text):
    keys = [w.strip(".,") for w in answer.split() if w.strip(".,") not in
            ("The", "the", "is", "was", "a", "an", "of", "in", "story", "about", "It", "There", "name", "did")]
    return all(k.lower() in text.lower() for k in keys)


def small_qa(r, split):
    """Short facts, one of which is asked for."""
    names = []
    while len(names) < 3:
        n = person(r, split)
        if n not in names:
            names.append(n)
    n = r.choice([2, 2, 3])
    names = names[:n]
    i = r.randrange(n)
    roll = r.randrange(5)
    if roll == 0:
        cols, objs = r.sample(W.COLOURS, n), [r.choice(W.OBJECTS)] * n if r.random() < 0.5 else r.sample(W.OBJECTS, n)
        facts = [expand(r, "%s has a~ %s %s." % x, {}) for x in zip(names, cols, objs)]
        if len(set(objs)) == 1 or r.random() < 0.5:
            q = "Who has the %s %s?" % (cols[i], objs[i])
            a = "%s has the %s %s." % (names[i], cols[i], objs[i])
        else:
            q = "What colour is the %s?" % objs[i]
            a = "The %s is %s." % (objs[i], cols[i])
    elif roll == 1:
        places = r.sample(sorted(W.PLACES), n)
        facts = ["%s is %s %s." % (a, W.PLACES[p], p) for a, p in zip(names, places)]
        q = "Where is %s?" % names[i]
        a = "%s is %s %s." % (names[i], W.PLACES[places[i]], places[i])
    elif roll == 2:
        likes = r.sample(W.EATS + W.HOBBIES, n)
        facts = ["%s likes %s." % x for x in zip(names, likes)]
        if r.random() < 0.5:
            q, a = "What does %s like?" % names[i], "%s likes %s." % (names[i], likes[i])
        else:
            q, a = "Who likes %s?" % likes[i], "%s likes %s." % (names[i], likes[i])
    elif roll == 3:
        pets = r.sample(W.PETS, n)
        facts = [expand(r, "%s has a~ %s." % x, {}) for x in zip(names, pets)]
        q, a = "Who has the %s?" % pets[i], "%s has the %s." % (names[i], pets[i])
    else:
        ages = r.sample(range(4, 60), n)
        facts = ["%s is %d years old." % x for x in zip(names, ages)]
        if r.random() < 0.5:
            q, a = "How old is %s?" % names[i], "%s is %d years old." % (names[i], ages[i])
        else:
            j = ages.index(max(ages))
            q, a = "Who is the oldest?", "%s is the oldest." % names[j]
    r.shuffle(facts)
    facts = " ".join(facts)
    return [("user", r.choice([facts + " " + q, facts + "\n" + q, q + " " + facts])), ("assistant", a)]


def calc(a, op, b):
    return a + b if op == "+" else a - b if op == "-" else a * b


def numbers(r, split):
    def draw():
        roll = r.random()
        op = "+" if roll < 0.45 else "-" if roll < 0.8 else "x"
        if op == "x":
            return r.randint(0, 10), op, r.randint(0, 10)
        top = 20 if r.random() < 0.88 else 99
        if op == "+":
            c = r.randint(0, top)
            a = r.randint(0, c)
            return a, op, c - a
        a = r.randint(0, top)
        return a, op, r.randint(0, a)
    return pick(r, split, draw, lambda x: x)


def ask_sum(r, a, op, b):
    if op == "+":
        t = "[What is %d + %d?|%d + %d|%d + %d = ?|How much is %d + %d?|%d plus %d|What is %d plus %d?|Add %d and %d.|" \
            "Calculate %d + %d.|%d+%d|What is the sum of %d and %d?|What is %d+%d?]"
        return expand(r, t.replace("%d", "%s"), {}) % (a, b)
    if op == "-":
        t = "[What is %s - %s?|%s - %s|%s - %s = ?|How much is %s - %s?|%s minus %s|What is %s minus %s?|" \
            "Calculate %s - %s.|%s-%s|What is %s-%s?]"
        return expand(r, t, {}) % (a, b)
    t = "[What is %s x %s?|%s x %s|%s * %s|What is %s times %s?|%s times %s|How much is %s x %s?|Multiply %s and %s.|What is %s * %s?]"
    return expand(r, t, {}) % (a, b)


def sums(r, split):
    a, op, b = numbers(r, split)
    turns = [("user", vary(r, ask_sum(r, a, op, b))), ("assistant", "%d %s %d = %d" % (a, op, b, calc(a, op, b)))]
    while r.random() < 0.5:
        a, op, b = numbers(r, split)
        turns += [("user", r.choice(["", "And ", "Now "]) + ask_sum(r, a, op, b)),
                  ("assistant", "%d %s %d = %d" % (a, op, b, calc(a, op, b)))]
    return turns


def word_problem(r, split):
    while True:
        a, op, b = numbers(r, split)
        if op != "x" and b > 0 and (op == "+" or a > b) and a > 1:
            break
    name, things = person(r, split), r.choice("apples marbles coins nuts plums eggs books balls pencils stones".split())
    she = name in S.FEMALE
    he, him = ("She", "her") if she else ("He", "him") if name in S.MALE else (name, name)
    c = calc(a, op, b)
    if op == "+":
        t = expand(r, "[NAME has A THINGS. [HE gets|HE finds|HE buys] B more. How many THINGS does NAME have now?|"
                      "There are A THINGS in a box. NAME puts in B more. How many THINGS are in the box?|"
                      "NAME finds A THINGS in the morning and B in the evening. How many THINGS is that?]", {})
    else:
        t = expand(r, "[NAME has A THINGS. [HE eats|HE loses|HE gives away] B. How many THINGS are left?|"
                      "There are A THINGS in a box. NAME takes out B. How many THINGS are left in the box?|"
                      "NAME had A THINGS and lost B. How many THINGS does NAME have now?]", {})
    if "eats" in t and things not in ("apples", "nuts", "plums", "eggs"):
        t = t.replace("eats", "loses")
    for k, v in (("NAME", name), ("THINGS", things), ("HE", he), ("A ", "%d " % a), ("B", str(b))):
        t = t.replace(k, v)
    return [("user", t), ("assistant", "%d %s %d = %d. The answer is %d %s." % (a, op, b, c, c,
                                                                             things if c != 1 else things[:-1]))]


def count(r, split):
    roll = r.random()
    if roll < 0.4:
        lo = r.randint(0, 15)
        hi = lo + r.randint(2, 9)
        seq = range(lo, hi + 1)
        q = expand(r, "[Count from %d to %d.|Can you count from %d to %d?]" .replace("%d", "%s"), {}) % (lo, hi)
        if r.random() < 0.25:
            q = "Count from %d down to %d." % (hi, lo)
            seq = reversed(seq)
        return [("user", vary(r, q)), ("assistant", ", ".join(map(str, seq)))]
    a, b = r.sample(range(0, 100), 2)
    if roll < 0.7:
        big = r.random() < 0.5
        q = expand(r, "[Which is %s, %%s or %%s?|Which number is %s: %%s or %%s?]" % (("bigger", "bigger") if big else ("smaller", "smaller")), {})
        c, d = (max(a, b), min(a, b)) if big else (min(a, b), max(a, b))
        return [("user", q % (a, b)), ("assistant", "%d is %s than %d." % (c, "bigger" if big else "smaller", d))]
    n = r.randint(0, 50)
    if roll < 0.85:
        return [("user", r.choice(["What comes after %d?", "Which number comes after %d?"]) % n), ("assistant", "After %d comes %d." % (n, n + 1))]
    return [("user", r.choice(["What is the double of %d?", "What is twice %d?"]) % n), ("assistant", "Twice %d is %d." % (n, 2 * n))]


def lists(r, split):
    def draw():
        return r.choice(sorted(W.LISTS)), r.randint(2, 6)
    cat, n = pick(r, split, draw, lambda x: x)
    # From any item on in the list's own order: what follows is then a matter of memory and never of chance.
    first = r.randrange(len(W.LISTS[cat]))
    items = (W.LISTS[cat][first:] + W.LISTS[cat][:first])[:n + 2]
    if len(items) < n:
        n = len(items)
    first, more = items[:n], items[n:]
    num = r.choice([W.NUMBERS[n], str(n)]) if r.random() < 0.7 else W.NUMBERS[n]
    roll = r.random()
    if roll < 0.1:
        key = r.choice(sorted(W.ORDERED))
        q = expand(r, "[What are the K?|List the K.|Name the K.|Tell me the K.]".replace("K", key), {})
        if q.startswith("List"):
            return [("user", vary(r, q)), ("assistant", "\n".join("%d. %s" % x for x in enumerate(W.ORDERED[key], 1)))]
        return [("user", vary(r, q)), ("assistant", "The %s are %s." % (key, join(W.ORDERED[key])))]
    if roll < 0.55:
        q = expand(r, "[Name|Tell me|Give me|Say] %s %s." % (num, cat), {})
        turns = [("user", vary(r, q)), ("assistant", join([first[0].capitalize()] + first[1:]) + ".")]
    elif roll < 0.85:
        q = expand(r, "[List|Write a list of|Make a list of|Give me a list of] %s %s." % (num, cat), {})
        turns = [("user", vary(r, q)), ("assistant", "\n".join("%d. %s" % x for x in enumerate(first, 1)))]
    else:
        q = expand(r, "[Name|List] %s %s as JSON." % (num, cat), {})
        return [("user", q), ("assistant", json.dumps(first))]
    if len(more) == 2 and r.random() < 0.2:
        turns += [("user", r.choice(["Two more, please.", "Name two more.", "And two more?"])),
                  ("assistant", more[0].capitalize() + " and " + more[1] + ".")]
    return turns


FACTS = {
    "age": (lambda r, s: r.randint(3, 90), ["is {v} years old"]),
    "city": (lambda r, s: r.choice(W.HELD_CITIES if s == "held" else W.CITIES) if r.random() < 0.6 else new_name(r),
             ["lives in {v}", "lives in {v}", "comes from {v}"]),
    "pet": (lambda r, s: r.choice(W.PETS), ["has a {v}", "has a {v} as a pet"]),
    "job": (lambda r, s: r.choice(W.JOBS), ["is a {v}", "works as a {v}"]),
    "hobby": (lambda r, s: r.choice(W.HOBBIES), ["likes {v}", "loves {v}"]),
    "food": (lambda r, s: r.choice(W.EATS), ["likes to eat {v}", "eats {v} every day"]),
    "colour": (lambda r, s: r.choice(W.COLOURS), ["likes the colour {v}", "has the favourite colour {v}"]),
}


def facts_json(r, split):
    turns = []
    while True:
        name = person(r, split)
        keys = r.sample(sorted(FACTS), r.choice([1, 2, 2, 2, 3, 3]))
        if r.random() < 0.3:
            keys = r.choice([["age", "city"], ["age", "pet"], ["job", "city"], ["age", "job", "city"]])
        values = {k: FACTS[k][0](r, split) for k in keys}
        parts = [r.choice(FACTS[k][1]).format(v=values[k]) for k in keys]
        if r.random() < 0.7 or len(parts) == 1:
            text = name + " " + join(parts) + "."
        else:
            he = "She" if name in S.FEMALE else "He" if name in S.MALE else name
            text = name + " " + parts[0] + ". " + he + " " + join(parts[1:]) + "."
        obj = dict(name=name, **values)
        roll = r.random()
        if roll < 0.5:
            q = text + " " + r.choice(["Give this as JSON.", "Give this as JSON.", "Write this as JSON.", "Answer as JSON.",
                                       "Make JSON from this.", "As JSON, please.", "Turn this into JSON."])
        elif roll < 0.7:
            q = r.choice(["Give this as JSON: ", "Write this as JSON: ", "As JSON: ", "Turn this into JSON: "]) + text
        elif roll < 0.8:
            keep = r.sample(["name"] + keys, min(len(keys), r.randint(1, 2)))
            q = text + " Give only the " + join(keep) + " as JSON."
            obj = {k: obj[k] for k in keep}
        else:
            k = r.choice(keys)
            ask = {"age": "How old is %s?", "city": "Where does %s live?", "pet": "Which pet does %s have?", "job": "What is the job of %s?",
                   "hobby": "What is the hobby of %s?", "food": "What does %s like to eat?", "colour": "Which colour does %s like?"}[k] % name
            ans = {"age": "%s is %s years old.", "city": "%s lives in %s.", "pet": "%s has a %s.", "job": "%s is a %s.",
                   "hobby": "%s likes %s.", "food": "%s likes to eat %s.", "colour": "%s likes the colour %s."}[k] % (name, values[k])
            turns += [("user", text.replace("comes from", "lives in") + " " + ask), ("assistant", ans.replace(" a a", " an a"))]
            if r.random() < 0.7:
                return turns
            turns += [("user", r.choice(["Give this as JSON.", "Now as JSON.", "And as JSON?"])), ("assistant", json.dumps(obj, ensure_ascii=False))]
            return turns
        turns += [("user", q), ("assistant", json.dumps(obj, ensure_ascii=False))]
        if r.random() < 0.75:
            return turns


def knowledge(r, split):
    roll = r.randrange(7)
    if roll == 0:
        a, b = r.choice(W.OPPOSITES)
        if r.random() < 0.5:
            a, b = b, a
        return [("user", vary(r, r.choice(["What is the opposite of %s?", "The opposite of %s?", "Tell me the opposite of %s."]) % a)),
                ("assistant", "The opposite of %s is %s." % (a, b))]
    if roll == 1:
        k = r.choice(sorted(W.SOUNDS))
        return [("user", vary(r, expand(r, "[What does a~ K say?|What sound does a~ K make?|Which sound does a~ K make?]".replace("K", k), {}))),
                ("assistant", expand(r, "A~ %s says %s." % (k, W.SOUNDS[k]), {}))]
    if roll == 2:
        k = r.choice(sorted(W.COLOUR_OF))
        v = W.COLOUR_OF[k]
        return [("user", vary(r, r.choice(["What colour is %s?", "Which colour is %s?", "What color is %s?", "Which colour has %s?"]) % k)),
                ("assistant", k[0].upper() + k[1:] + " is " + v + ".")]
    if roll == 3:
        k = r.choice(sorted(W.LEGS))
        n = W.LEGS[k]
        return [("user", vary(r, expand(r, "[How many legs does a~ K have?|How many legs has a~ K?]".replace("K", k), {}))),
                ("assistant", expand(r, "A~ %s has %s legs." % (k, W.NUMBERS[n] if n else "no"), {}))]
    if roll == 4:
        k = r.choice(sorted(W.CAPITALS))
        return [("user", vary(r, r.choice(["What is the capital of %s?", "Which city is the capital of %s?", "The capital of %s?"]) % k)),
                ("assistant", "The capital of %s is %s." % (k, W.CAPITALS[k]))]
    if roll == 5:
        days = W.ORDERED["days of the week"] if r.random() < 0.6 else W.ORDERED["months of the year"]
        i = r.randrange(len(days))
        what = "day" if len(days) == 7 else "month"
        if r.random() < 0.6:
            return [("user", r.choice(["Which %s comes after %s?", "What %s comes after %s?"]) % (what, days[i])),
                    ("assistant", "After %s comes %s." % (days[i], days[(i + 1) % len(days)]))]
        return [("user", r.choice(["Which %s comes before %s?", "What %s comes before %s?"]) % (what, days[i])),
                ("assistant", "Before %s comes %s." % (days[i], days[i - 1]))]
    k = r.choice(sorted(W.PLURAL))
    return [("user", vary(r, r.choice(["What is the plural of %s?", "More than one %s?"]) % k)),
            ("assistant", expand(r, "One %s, two %s." % (k, W.PLURAL[k]), {}))]


GREETINGS = [
    ("[Hello|Hello!|Hi|Hi!|Hi there|Hey|Hello there!|Good day!|hello|hi]", "[Hello! How can I help you?]"),
    ("[Good morning|Good morning!]", "Good morning! How can I help you?"),
    ("[Good evening|Good evening!]", "Good evening! How can I help you?"),
    ("[Good night|Good night!]", "Good night! Sleep well."),
    ("[How are you?|How are you|How do you do?|How are you today?]", "I am fine, thank you. How can I help you?"),
    ("[Who are you?|What are you?|who are you|Tell me who you are.|Who is this?|Introduce yourself.|What is this?]",
     "I am a small model that comes with Tern. I can tell little stories, answer questions about them, do small sums, make lists and write facts as JSON."),
    ("[What is your name?|What's your name?|Do you have a name?|what is your name]", "I have no name of my own. I am the small demo model that comes with Tern."),
    ("[What can you do?|what can you do|How can you help me?|Help|help|What do you know?|Can you help me?]",
     "I can tell little stories, answer questions about them, do small sums, make lists and write facts as JSON. Try: Tell me a story about a fox."),
    ("[What is Tern?|What is tern?|Tell me about Tern.]", "Tern is a library that runs language models. I am the small model that comes with it."),
    ("[Who made you?|Who built you?|Where do you come from?|Who trained you?]", "I was trained by the Tern project, on text that a small program wrote."),
    ("[Are you a person?|Are you human?|Are you real?|Are you a robot?|Are you an AI?]", "No, I am not a person. I am a very small language model."),
    ("[Are you ChatGPT?|Are you Llama?|Are you a large model?|Are you smart?|How big are you?]", "No, I am a very small model. I know only a few things."),
    ("[Thank you|Thank you!|Thanks|Thanks!|thanks|Thank you very much.]", "You are welcome!"),
    ("[Goodbye|Goodbye!|Bye|Bye!|See you!|bye]", "Goodbye! Have a nice day."),
    ("[Yes|No|Ok|Okay|OK|Good|Great!|Nice]", "[Good. What would you like to do next?]"),
    ("[I am sad.|I feel sad.|I am so sad today.]", "I am sorry to hear that. Would you like a little story?"),
    ("[I am happy.|I feel good.|I am happy today.]", "That is good to hear!"),
    ("[I am bored.|I am tired.]", "Would you like a little story? Say: Tell me a story."),
    ("[Tell me a joke.|Do you know a joke?|Make me laugh.]", "Why did the hen cross the road? Because she wanted to see the other side."),
    ("[Test|test|Testing|1 2 3|asdf|...|?|Are you there?]", "I am here. How can I help you?"),
    ("[Write a poem.|Write a short poem.|Tell me a poem.|Write a poem about rain.|Sing a song.]",
     "The rain falls down on hill and tree,\nIt sings a song for you and me.\nThe sun comes out, the sky is blue,\nThe birds are singing for me and you."),
]

UNKNOWN = """What is the weather today?|Will it rain tomorrow?|What time is it?|What day is it today?|Who is the president?
Who won the game?|Who won the last election?|What is the news?|Tell me the news.|How do I fix my car?|How do I get rich?
What is the meaning of life?|Explain quantum physics.|What is quantum mechanics?|What is a black hole?|Who was Napoleon?
Who was Einstein?|What is machine learning?|How does a computer work?|Write a program in Python.|Write code for me.
Write a function that sorts a list.|Translate this into French.|How do you say hello in German?|What is a tensor?
What is the price of gold?|Which stocks should I buy?|I have a headache. What should I take?|Which medicine is good for me?
How tall is the highest mountain?|How far away is the moon?|How old is the earth?|When did the war end?|Who wrote Hamlet?
Who painted this picture?|What is the speed of light?|What is DNA?|What is the boiling point of iron?|Is there life on Mars?
What is the best phone?|Recommend a film.|What is your favourite film?|Book a flight for me.|Send an email to my boss.
Call my mother.|Play some music.|Where is the nearest shop?|What is the square root of 7?|Solve this equation for me.
What is the population of China?|How many people live in Rome?|What is the tallest building?|What is democracy?
How does a vaccine work?|Why is the sky blue?|What is gravity?|Who discovered America?|What is an atom?|What is inflation?
Explain the theory of relativity.|How do planes fly?|Who is the richest person?|What is my address?|Where do I live?
How old am I?|What did I do yesterday?|What will happen tomorrow?|Can you see me?|What is in this picture?
Write an essay about history.|Summarise this book.|What is a neural network?|How do I cook an egg?|Which car is best?"""
UNKNOWN = [q.strip() for q in UNKNOWN.replace("\n", "|").split("|")]
TOPICS = "history physics chemistry law money politics computers medicine engines software planets wars taxes music films football science mathematics geography art religion space phones trains bridges rivers".split()
REFUSALS = ["I am sorry, I do not know that. I am only a small model."]


def chat(r, split):
    roll = r.random()
    if roll < 0.55:
        q, a = r.choice(GREETINGS)
        return [("user", expand(r, q, {})), ("assistant", a if "\n" in a else expand(r, a, {}))]
    if roll < 0.85:
        if r.random() < 0.65:
            q = r.choice(UNKNOWN)
        else:
            q = expand(r, "[Explain|Tell me about|What do you know about|Teach me|What is the history of|Write a report about|I have a question about] T."
                       .replace("T", r.choice(TOPICS)), {})
            if q.startswith("What"):
                q = q[:-1] + "?"
        return [("user", vary(r, q)), ("assistant", REFUSALS[0])]
    name = person(r, split)
    if roll < 0.93:
        turns = [("user", expand(r, "[Hi, my name is N.|Hello, I am N.|My name is N.|I am N.|Hello! My name is N.]".replace("N", name), {})),
                 ("assistant", "Hello %s! How can I help you?" % name)]
        if r.random() < 0.7:
            turns += [("user", r.choice(["What is my name?", "Do you know my name?", "Who am I?"])), ("assistant", "Your name is %s." % name)]
        return turns
    q = expand(r, "[Say hello to N.|Greet N.|Please say hello to N.]".replace("N", name), {})
    return [("user", q), ("assistant", "Hello, %s!" % name)]


def sentence(r, split):
    st = S.make_character(r)
    o, co = r.choice(W.OBJECTS), r.choice(W.COLOURS)
    place = r.choice(sorted(W.PLACES))
    a = expand(r, "[The KIND sat PLACE and looked at the sky.|A~ ADJ KIND found a~ COL OBJ PLACE.|The KIND played PLACE all day.|One day the KIND went home with a~ COL OBJ.]"
               .replace("KIND", st["kind"]).replace("PLACE", W.PLACES[place] + " " + place).replace("ADJ", st["adj"]).replace("COL", co).replace("OBJ", o), {})
    return [("user", vary(r, expand(r, "[Write|Say|Make|Give me] [a|one] sentence about a~ %s." % st["kind"], {}))), ("assistant", a)]


def repeat(r, split):
    """Words in a row, to be said again: the plainest lesson in copying, on which names and JSON depend."""
    words = []
    for _ in range(r.randint(3, 16)):
        words.append(r.choice([new_name, lambda r: str(r.randint(0, 99)), lambda r: r.choice(W.OBJECTS + W.COLOURS),
                               lambda r: r.choice(W.CITIES + W.JOBS + W.PETS), lambda r: r.choice(sorted(W.ANIMALS)),
                               new_name])(r))
    text = " ".join(words)
    return [("user", r.choice(["Repeat: ", "Say after me: ", "Repeat this: ", "Say: "]) + text), ("assistant", text)]


SYSTEMS = ["You are a helpful assistant.", "You are a friendly assistant.", "Answer in one sentence.", "You are a helpful model.",
           "You tell stories.", "Be kind.", "You are a small model that comes with Tern."]

# task, share of the documents
MIX = [(story_begin, 9), (story_asked, 10), (story_raw, 2), (story_qa, 10), (small_qa, 40), (sums, 25), (word_problem, 8),
       (count, 5), (lists, 16), (facts_json, 30), (knowledge, 10), (chat, 18), (sentence, 2), (repeat, 12)]
TASKS = {t.__name__: t for t, _ in MIX}


def document(r, split="train", task=None):
    """(task name, turns). Some conversations begin with a system turn; some join two tasks."""
    if task is None:
        t = r.choices([t for t, _ in MIX], [w for _, w in MIX])[0]
    else:
        t = TASKS[task]
    turns = t(r, split)
    if task is None and turns[0][0] != "raw":
        if r.random() < 0.1 and sum(len(x) for _, x in turns) < 900:
            other = r.choices([t for t, _ in MIX], [w for _, w in MIX])[0]
            if other not in (story_raw, story_qa):
                turns = turns + other(r, split)
        if r.random() < 0.06:
            turns = [("system", r.choice(SYSTEMS))] + turns
    return t.__name__, turns
