"""The words that the generator draws from. Written for this project; plain data, no logic."""

GIRLS = """Anna Mia Lily Emma Sara Nora Ella Lucy Rosa Clara Ida Maya Alice Jane Ruby Sophie Tina Zoe Grace Hanna
Julia Kate Lena Mary Nina Olga Paula Rita Sally Vera Wendy Amy Beth Carla Diana Eva Flora Greta Heidi Iris Joan
Kira Lola Marta Nelly Polly Rachel Stella Tess Una Viola Yara Ada Bella Cora Daisy Edith Fiona Gina Holly Ivy
Jill Karin Laura Maria Nadia Sonia Tara Amira Aisha Chloe Lea""".split()

BOYS = """Tom Ben Max Sam Leo Jack Tim Peter Paul David Felix Hugo Oscar Noah Adam Jonas Emil Anton Carl Daniel Erik
Frank George Henry Ivan James Karl Luis Mark Nick Oliver Pablo Robin Simon Theo Victor Will Alex Bruno Chris Dan
Eddie Finn Gus Harry Isaac Jim Kevin Liam Milo Nils Otto Philip Ralph Rob Sven Toby Vito Walter Abel Basil Cyril
Dennis Elias Fred Gabriel Hans Igor Joel Omar Ravi Kenji José""".split()

# Never used in training: what the model does with them shows that it copies names and does not recite them.
HELD_NAMES = """Ingrid Marco Petra Dylan Salma Conrad Bianca Tariq Monica Gerald Yvonne Ruben Astrid Leonard Camila
Wilfred Naomi Arthur Selma Gordon""".split()
HELD_GIRLS = "Ingrid Petra Salma Bianca Monica Yvonne Astrid Camila Naomi Selma".split()

PET_NAMES = """Rusty Pip Bruno Dot Fern Hazel Nibbles Biscuit Clover Poppy Tango Willow Bramble Pepper Misty Ziggy
Coco Sunny Teddy Button Maple Olive Moss Pebble Shadow Ginger Honey Barney Benny Bobo Chip Dusty Fluffy Jasper
Kiki Luna Momo Nutmeg Patch Queenie Rosie Scout Tilly Whiskers Ziggy Acorn Berry Cosmo Echo Flick""".split()

SYLLABLES_A = "Ba Be Bo Da De Do Fa Fe Ga Go Ha Ho Ja Jo Ka Ke Ko La Le Lo Ma Me Mi Mo Na Ne No Pa Pe Po Ra Re Ro Sa Se So Ta Te To Va Ve Vi Wi Za Ze Zo".split()
SYLLABLES_B = "ba be bi da di do la le li lo ma me mi na ne ni no ra re ri ro sa se si ta te ti to va vi za".split()
SYLLABLES_C = "n r s l na ra la ta lin rin nor tek mon dra beth wen ton ric rd ck".split()

ONSETS = "b c d f g h j k l m n p r s t v w z br ch cr dr fr gr kl pr sh sl st th tr wh y bl gl sw kn".split() + [""] * 5
VOWELS = "a e i o u a e i o u ai ee ia io y au ei ou".split()
CODAS = "n r s l d t m k na ra la th sh nd rd rt ng ck x lf rk ne ry do us is la to go".split() + [""] * 4

KIDS_ADJ = "little kind curious brave shy cheerful clever quiet happy lively young friendly gentle careful dreamy".split()
ANIMAL_ADJ = "little young clever shy brave curious small friendly lazy hungry funny gentle lonely playful sleepy".split()

ANIMALS = {  # kind: where it lives
    "fox": "in a den at the edge of the forest", "rabbit": "in a warm hole under an oak tree",
    "bear": "in a cave in the mountains", "mouse": "in a tiny house under the stairs",
    "duck": "by a quiet pond", "frog": "on a lily leaf in the pond", "cat": "in a house with a blue door",
    "dog": "on a farm near the river", "squirrel": "at the top of a tall tree",
    "hedgehog": "under a hedge in the garden", "owl": "in an old hollow tree", "pony": "in a stable on the farm",
    "lamb": "on a green hill", "goat": "high up in the mountains", "pig": "on a muddy farm",
    "hen": "in a small red barn", "turtle": "near a warm lake", "badger": "deep in the forest",
    "otter": "on the bank of a river", "mole": "in a long tunnel under the meadow",
    "deer": "in the green forest", "elephant": "near a wide river", "lion": "in the tall yellow grass",
    "monkey": "in a tree full of fruit", "penguin": "on the cold white ice", "crow": "on the roof of an old church",
    "beaver": "in a house of sticks on the river", "donkey": "behind the old mill",
    "goose": "by the village pond", "puppy": "in a basket near the fire", "kitten": "in a box in the kitchen",
    "dragon": "in a castle on a hill", "snail": "under a big green leaf", "bee": "in a hive behind the garden",
    "seal": "on a rock in the sea", "sparrow": "in a nest above the market",
}

FOLK = {  # people and beings beside children
    "robot": "in a workshop full of clocks", "princess": "in a tall tower", "prince": "in a castle by a lake",
    "king": "in a grey castle", "queen": "in a palace of glass", "pirate": "on an old ship", "witch": "in a crooked house",
    "wizard": "in a tower full of books", "knight": "in a stone castle", "fairy": "inside a blue flower",
    "giant": "behind the mountains", "baker": "in a small town", "farmer": "on a lonely farm", "sailor": "by the sea",
    "snowman": "in a white garden", "horse": "in a green field", "cow": "on a quiet farm", "sheep": "on a hill",
    "wolf": "in a dark forest", "tiger": "in the jungle", "bird": "in a nest in an old tree", "fish": "in a clear lake",
    "whale": "in the deep blue sea", "parrot": "on a warm island", "unicorn": "in a secret valley",
    "dinosaur": "in a land of big trees", "butterfly": "in a sunny meadow", "spider": "in the corner of a barn",
    "wolf cub": "in a cave", "painter": "in a room under the roof", "clown": "in a colourful wagon"}
RARE_KINDS = """walrus llama zebra giraffe panda koala camel parrot lizard crab teapot cloud clock train car boat shoe
wombat raccoon hamster swan eagle peacock toad ant moth beetle worm bat ghost troll elf dwarf doll candle tree star moon
pumpkin potato spoon chair lamp engine tractor balloon shark octopus dolphin jellyfish lobster squid kangaroo""".split()

HOMES = ["in a small village", "in a little house by the sea", "in a town near the mountains",
         "in a white house on a hill", "on a small farm", "in a big city", "near a deep forest",
         "in a cottage by the river", "at the end of a long street", "above a bakery", "next to a big garden",
         "on a small island"]

OBJECTS = ["kite", "ball", "toy boat", "drum", "doll", "whistle", "hat", "scarf", "bell", "lantern", "book", "key",
           "umbrella", "basket", "blanket", "flute", "marble", "cup", "ring", "coin", "bag", "paper plane",
           "wooden horse", "pencil", "mitten", "balloon", "toy train", "box", "feather", "map"]
COLOURS = "red blue green yellow orange purple pink white black brown golden silver".split()

PLACES = {  # the place and how one is there
    "the park": "in", "the forest": "in", "the beach": "on", "the garden": "in", "the market": "at",
    "the pond": "at", "the farm": "on", "the meadow": "in", "the river": "by", "the old mill": "at",
    "the playground": "on", "the harbour": "at", "the orchard": "in", "the lake": "by", "the village square": "in",
    "the hill": "on", "the school": "at", "the old bridge": "on", "the barn": "in", "the field": "in",
}

SPOTS = ["under a bench", "behind a big rock", "in the tall grass", "under a pile of leaves", "inside an old boot",
         "between two stones", "next to the well", "under a bush", "behind the fence", "at the foot of a tree",
         "in a puddle", "on top of a wall", "under a wooden cart", "in an empty bucket"]

HELPERS = ["an old turtle", "a wise owl", "a friendly crow", "a kind farmer", "the baker", "an old woman",
           "a tall gardener", "a fisherman", "a little mouse", "a busy bee", "a big brown bear", "a young teacher",
           "a clever goat", "an old man", "a white goose", "a shepherd", "a strong carpenter", "a quiet painter"]

FOODS = ["cake", "bread", "soup", "pie", "cheese", "apple pie", "honey cake", "porridge", "plum jam",
         "carrot soup", "cherry pie", "nut bread", "lemon cake", "rice pudding"]
FEARS = {"the dark": "Then it grew dark.", "thunder": "Then thunder rolled over the hills.",
         "deep water": "Then they came to deep water.", "the high bridge": "Then they had to cross the high bridge.",
         "big dogs": "Then a big dog came by.", "loud noises": "Then there was a loud noise.",
         "spiders": "Then a spider came down from a branch."}
SKILLS = {"swim": "swimming", "whistle": "whistling", "ride a bike": "riding", "bake bread": "baking",
          "paint": "painting", "dance": "dancing", "climb trees": "climbing", "play the drum": "playing",
          "skate": "skating", "sing": "singing", "jump far": "jumping", "juggle": "juggling"}
BUILDS = ["a sand castle", "a tree house", "a snowman", "a little boat", "a tower of stones", "a small hut",
          "a bridge of sticks", "a bird house", "a raft"]
SEEDS = {"sunflower": "a tall yellow sunflower", "apple": "a small apple tree", "pumpkin": "a huge orange pumpkin",
         "rose": "a lovely red rose", "bean": "a long green bean plant", "strawberry": "a row of sweet strawberries",
         "carrot": "a fat orange carrot"}
WEATHER = ["The sun was shining", "The sky was blue", "A soft wind was blowing", "The birds were singing",
           "The air smelled of flowers", "Small clouds sailed across the sky", "It was very quiet"]

LISTS = {
    "animals": "dog cat horse fox bear rabbit mouse lion elephant goat sheep cow pig deer".split(),
    "colours": "red blue green yellow orange purple pink white black brown".split(),
    "fruits": "apple pear plum cherry banana orange grape lemon peach melon".split(),
    "vegetables": "carrot potato onion pea bean cabbage pumpkin tomato leek".split(),
    "birds": "owl crow sparrow robin duck goose swan eagle hen".split(),
    "toys": "ball doll kite drum puzzle train boat top".split(),
    "tools": "hammer saw spade rake brush ladder axe".split(),
    "clothes": "shirt hat coat scarf sock shoe glove dress".split(),
    "drinks": "water milk tea juice coffee lemonade cocoa".split(),
    "flowers": "rose tulip daisy lily violet sunflower poppy".split(),
    "trees": "oak pine birch willow maple elm ash".split(),
    "farm animals": "cow pig sheep goat hen horse duck donkey".split(),
    "sea animals": "whale fish crab seal shark shrimp octopus".split(),
    "insects": "bee ant fly beetle moth wasp butterfly".split(),
    "instruments": "drum flute piano violin guitar trumpet harp".split(),
    "shapes": "circle square triangle star oval cross diamond".split(),
    "vehicles": "car bus train boat bike truck plane tram".split(),
    "sports": "football tennis swimming running skating rowing chess".split(),
    "feelings": "joy anger fear love pride hope sadness surprise".split(),
    "body parts": "hand foot head arm leg nose ear eye".split(),
    "foods": "bread cheese soup rice cake honey egg butter".split(),
    "jobs": "baker farmer teacher doctor painter cook pilot nurse".split(),
    "things in a kitchen": "pot pan spoon fork knife plate cup stove".split(),
    "things in the sky": "sun moon star cloud bird plane rainbow".split(),
    "things in a garden": "tree flower bench pond path hedge bee".split(),
    "rooms": "kitchen bedroom bathroom hall attic cellar".split(),
}
ORDERED = {
    "days of the week": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "months of the year": "January February March April May June July August September October November December".split(),
    "seasons": "spring summer autumn winter".split(),
}
NUMBERS = "zero one two three four five six seven eight nine ten".split()

CITIES = """Rome Paris London Berlin Madrid Oslo Vienna Prague Lisbon Athens Dublin Warsaw Tokyo Cairo Lima Boston
Geneva Milan Venice Hamburg Munich Lyon Porto Krakow Bergen Zurich Delhi Seoul Quito Toronto Dallas Sydney""".split()
HELD_CITIES = "Turin Riga Malmo Bristol Nairobi Denver".split()
JOBS = "baker farmer teacher doctor painter cook pilot nurse gardener driver singer writer carpenter sailor".split()
PETS = "dog cat rabbit horse hamster parrot goat turtle mouse duck pony fish".split()
HOBBIES = "swimming painting dancing reading singing chess football tennis skating cooking running fishing".split()
EATS = "pizza soup rice bread cheese apples cake pasta honey carrots plums pancakes".split()

OPPOSITES = [("hot", "cold"), ("big", "small"), ("up", "down"), ("day", "night"), ("happy", "sad"), ("fast", "slow"),
             ("wet", "dry"), ("open", "closed"), ("old", "young"), ("long", "short"), ("full", "empty"),
             ("light", "dark"), ("good", "bad"), ("loud", "quiet"), ("hard", "soft"), ("high", "low"),
             ("left", "right"), ("black", "white"), ("early", "late"), ("strong", "weak"), ("clean", "dirty"),
             ("rich", "poor"), ("near", "far"), ("first", "last"), ("yes", "no"), ("summer", "winter")]
SOUNDS = {"dog": "woof", "cat": "meow", "cow": "moo", "sheep": "baa", "duck": "quack", "pig": "oink", "bee": "buzz",
          "owl": "hoo", "lion": "roar", "frog": "ribbit", "mouse": "squeak", "horse": "neigh", "crow": "caw"}
COLOUR_OF = {"the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "a lemon": "yellow",
             "a strawberry": "red", "coal": "black", "a carrot": "orange", "a banana": "yellow", "milk": "white",
             "a leaf": "green", "a tomato": "red", "the night": "black", "chocolate": "brown", "the sea": "blue"}
LEGS = {"dog": 4, "cat": 4, "spider": 8, "bird": 2, "bee": 6, "horse": 4, "ant": 6, "cow": 4, "snake": 0, "fish": 0,
        "hen": 2, "fox": 4, "person": 2, "rabbit": 4}
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "England": "London",
            "Norway": "Oslo", "Austria": "Vienna", "Portugal": "Lisbon", "Greece": "Athens", "Ireland": "Dublin",
            "Poland": "Warsaw", "Japan": "Tokyo", "Egypt": "Cairo", "Peru": "Lima", "Sweden": "Stockholm",
            "Finland": "Helsinki"}
PLURAL = {"mouse": "mice", "goose": "geese", "pony": "ponies", "puppy": "puppies", "deer": "deer", "fox": "foxes"}
