#include "tokenizer/pre_tokenizers.h"

#include <algorithm>

namespace tern::tokenizer {

namespace {

// The patterns are those of the models' public tokenizer.json (pre_tokenizer, its steps in order). Intersections of
// classes, which PCRE2 lacks, are written with a look ahead. To add a pre-tokeniser, add its row.

#define CONTRACTIONS_ANY_CASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
// github.com/openai/gpt-2/blob/master/src/encoder.py
#define GPT2 R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"
// Letters with what stands before them, then numbers, then the rest: cl100k of tiktoken and its many descendants.
#define CL100K(numbers) \
    CONTRACTIONS_ANY_CASE R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" numbers R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|)" SPACES
// Words end where upper case follows lower case: o200k of tiktoken and its descendants.
#define O200K(tail, numbers)                                        \
    "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+" tail           \
    "|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*" tail "|" numbers \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
// Words of letters and marks; ASCII punctuation goes with the ASCII letters behind it (DeepSeek-V3).
#define LETTERS_AND_MARKS                                                               \
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)" \
    R"( ?[\p{P}\p{S}]+[\r\n]*|)" SPACES
#define SENTENCE_SIGNS " ?[^(\\s|.,!?…。，、।۔،)]+"

constexpr bool kThrees = true;

constexpr SplitStep kDefault[] = {{R"([\p{P}\$\+<=>\^~\|]+)"}, {GPT2}, {R"(\p{N}+)"}, {"[0-9][0-9][0-9]"}};
constexpr SplitStep kGpt2[] = {{GPT2}};
constexpr SplitStep kLlama3[] = {{CL100K("\\p{N}{1,3}")}};
constexpr SplitStep kQwen2[] = {{CL100K("\\p{N}")}};
constexpr SplitStep kQwen35[] = {{CONTRACTIONS_ANY_CASE
                                   R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" SPACES}};
constexpr SplitStep kJais2[] = {
    {CONTRACTIONS_ANY_CASE R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
                          R"(\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|)"
                          R"(\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}};
constexpr SplitStep kMiniCpm5[] = {{R"(\p{N}{1,3})"}, {CL100K("\\p{N}+")}};
constexpr SplitStep kLaguna[] = {{R"([^\n]+|[\n]+)"}, {CL100K("\\p{N}")}};
constexpr SplitStep kDeepSeekLlm[] = {
    {"[\\r\\n]"},
    // Cased letters, by code point.
    {"\\s?[A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}"
    "\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}"
    "\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}"
    "\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}"
    "\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}"
    "\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}"
    "\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}"
    "\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}"
    "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}"
    "\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}]+"},
    {"\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"},
    {"(?<!\\s)\\s++$"},  // \s+$, in linear time
    {"[一-龥ࠀ-一가-\uD7FF]+"},
    {"\\p{N}+"}};
constexpr SplitStep kDeepSeekCoder[] = {{"[\\r\\n]"}, {"\\s?\\p{L}+"}, {"\\s?\\p{P}+"}, {"[一-龥ࠀ-一가-\uD7FF]+"}, {"\\p{N}"}};
constexpr SplitStep kDeepSeekV3[] = {{"\\p{N}{1,3}"}, {"[一-龥\u3040-ゟ゠-ヿ]+"}, {LETTERS_AND_MARKS}};
constexpr SplitStep kYoutu[] = {
    {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+"},
    {O200K(CONTRACTIONS_ANY_CASE "?", "\\p{N}")}};
// Digits in threes, counted from the right. The models' own patterns look ahead to the end of the digits from each of
// them; steps that cut threes take linear time.
constexpr SplitStep kAfmoe[] = {{R"(\p{N}+)"},
                                {R"(\p{N}+)", kThrees},
                                {"[一-鿿㐀-䶿\uF900-\uFAFF\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2FDF\u0E40-\u0E7F\u0E80-\u0EFFក-\u17FFက-႟ꩠ-"
                                 "ꩿꧠ-\uA9FF가-\uD7AFᄀ-ᇿ]+"},
                                {LETTERS_AND_MARKS}};
constexpr SplitStep kFalcon[] = {{R"([\p{P}\$\+<=>\^~\|`]+)"}, {GPT2}, {"[0-9][0-9][0-9]"}};
constexpr SplitStep kStarCoder[] = {{R"(\p{N})"}, {GPT2}};
constexpr SplitStep kBloom[] = {{SENTENCE_SIGNS}};
constexpr SplitStep kViking[] = {{SENTENCE_SIGNS}, {R"(\p{N})"}};
constexpr SplitStep kTekken[] = {{O200K("", "\\p{N}")}};
constexpr SplitStep kGpt4o[] = {{O200K(CONTRACTIONS_ANY_CASE "?", "\\p{N}{1,3}")}};
// Its pattern: \d{1,3}(?=(?:\d{3})*\b)
constexpr SplitStep kTinyAya[] = {{R"((?<!\d)\d++\b)"},
                                  {R"((?<!\d)\d++\b)", kThrees},
                                  {O200K(CONTRACTIONS_ANY_CASE "?", "\\p{N}{1,3}")}};
constexpr SplitStep kChameleon[] = {{"<sentinel:[0-9]+>"},
                                      {"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"},
                                      {"([\\t\\n]|    |  )"},
                                      {R"(\p{N})"},
                                      {R"([\p{P}!-/:-@\[-`{-~])"},
                                      {GPT2}};
// pat_str of huggingface.co/moonshotai/Kimi-K2-Base/blob/main/tokenization_kimi.py
#define NOT_HAN(class) "(?:(?!\\p{sc:Han})[" class "])"
constexpr SplitStep kKimiK2[] = {
    {"\\p{sc:Han}+|"
    "[^\\r\\n\\p{L}\\p{N}]?" NOT_HAN(UPPER) "*" NOT_HAN(LOWER) "+" CONTRACTIONS_ANY_CASE "?|"
    "[^\\r\\n\\p{L}\\p{N}]?" NOT_HAN(UPPER) "+" NOT_HAN(LOWER) "*" CONTRACTIONS_ANY_CASE "?|"
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}};
// Its second pattern: (?=(\d{3})+(?!\d)). Spaces cut nothing here.
constexpr SplitStep kSuperBpe[] = {{R"(\p{N}+)"}, {R"(\d+)", kThrees}};
constexpr SplitStep kSeedCoder[] = {{CONTRACTIONS_ANY_CASE
                                      R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)" SPACES}};
constexpr SplitStep kExaoneMoe[] = {
    {CONTRACTIONS_ANY_CASE R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)"
                          R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}};

constexpr std::string_view kGpt2Aliases[] = {
    "gpt2",       "phi-2",   "mellum",      "gigachat",        "a.x-4.0",    "mpt",        "olmo",
    "jais",       "exaone4", "trillion",    "granite-docling", "modern-bert", "jina-es",   "jina-de",
    "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code",  "roberta-bpe"};
constexpr std::string_view kLlamaAliases[] = {"llama3",    "llama-v3", "falcon3", "falcon-h1",
                                              "pixtral",   "midm-2.0", "lfm2",    "jina-v5-nano"};
constexpr std::string_view kDbrxAliases[] = {"smaug-bpe", "chatglm-bpe", "glm4"};
constexpr std::string_view kQwen2Aliases[] = {"deepseek-r1-qwen", "kormo",   "f2llmv2",    "megrez",
                                              "stablelm2",        "hunyuan", "solar-open", "grok-2",
                                              // with possessive quantifiers, which find the same
                                              "bailingmoe",       "bailingmoe2", "llada-moe"};
constexpr std::string_view kStarCoderAliases[] = {"refact", "command-r",  "smollm", "codeshell",
                                                  "exaone", "minerva-7b", "mellum2"};
constexpr std::string_view kDeepSeekV3Aliases[] = {"hunyuan-dense", "joyai-llm"};
constexpr std::string_view kGpt4oAliases[] = {"llama4", "kanana2", "talkie", "minimax-m2"};
constexpr std::string_view kBloomAliases[] = {"gpt3-finnish", "poro-chat"};
constexpr std::string_view kTinyAyaAliases[] = {"cohere2moe"};

constexpr PreTokenizer kTable[] = {
    {"afmoe", {}, kAfmoe, false, false},
    {"bloom", kBloomAliases, kBloom, false, false},
    {"chameleon", {}, kChameleon, false, true},
    {"dbrx", kDbrxAliases, kLlama3, false, false},
    {"deepseek-coder", {}, kDeepSeekCoder, false, false},
    {"deepseek-llm", {}, kDeepSeekLlm, false, false},
    {"deepseek-v3", kDeepSeekV3Aliases, kDeepSeekV3, false, false},
    {"default", {}, kDefault, false, false},
    {"exaone-moe", {}, kExaoneMoe, false, false},
    {"falcon", {}, kFalcon, false, false},
    {"gpt-2", kGpt2Aliases, kGpt2, false, false},
    {"gpt-4o", kGpt4oAliases, kGpt4o, false, false},
    {"granite-embed-multi-97m", {}, kGpt4o, true, false},
    {"jais-2", {}, kJais2, false, false},
    {"kimi-k2", {}, kKimiK2, false, false},
    {"laguna", {}, kLaguna, false, false},
    {"llama-bpe", kLlamaAliases, kLlama3, true, true},
    {"minicpm5", {}, kMiniCpm5, true, false},
    {"qwen2", kQwen2Aliases, kQwen2, false, false},
    {"qwen35", {}, kQwen35, false, false},
    {"seed-coder", {}, kSeedCoder, false, false},
    {"starcoder", kStarCoderAliases, kStarCoder, false, false},
    {"superbpe", {}, kSuperBpe, false, false},
    {"tekken", {}, kTekken, true, true},
    {"tiny_aya", kTinyAyaAliases, kTinyAya, false, false},
    {"viking", {}, kViking, false, false},
    {"youtu", {}, kYoutu, true, false},
};

}  // namespace

std::span<const PreTokenizer> pre_tokenizers() noexcept { return kTable; }

const PreTokenizer* find_pre_tokenizer(std::string_view name) noexcept {
    for (const PreTokenizer& row : kTable) {
        if (row.name == name || std::ranges::find(row.aliases, name) != row.aliases.end()) return &row;
    }
    return nullptr;
}

}  // namespace tern::tokenizer
