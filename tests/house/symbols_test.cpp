// What the built objects and the shared library define.
#include <cxxabi.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

namespace tern::test {
namespace {

struct Symbol {
    std::string object;
    std::string name;  // mangled
    char type;         // as nm prints it
};

// The output of nm in its POSIX format: "OBJECT: NAME TYPE VALUE SIZE", from `nm -P -A`.
std::vector<Symbol> parse_nm(std::istream& in) {
    std::vector<Symbol> out;
    for (std::string line; std::getline(in, line);) {
        const std::size_t colon = line.find(": ");
        if (colon == line.npos) continue;
        std::istringstream fields(line.substr(colon + 2));
        std::string name, type;
        if (fields >> name >> type && type.size() == 1) out.push_back({line.substr(0, colon), name, type[0]});
    }
    return out;
}

std::vector<Symbol> run_nm(const std::string& arguments) {
    const std::string command = std::string(TERN_NM) + " -P -A " + arguments + " 2>&1";
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
    if (!pipe) return {};
    std::stringstream text;
    std::array<char, 4096> buffer;
    for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;)
        text.write(buffer.data(), static_cast<std::streamsize>(n));
    return parse_nm(text);
}

std::string demangle(const std::string& name) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                      std::free);
    return status == 0 ? text.get() : name;
}

// The instruction set of an object file by its target's folder, empty for code that every CPU runs.
std::string isa_of(const std::string& object) {
    const std::string mark = "/tern_kernels_";
    const std::size_t at = object.find(mark);
    if (at == object.npos) return {};
    const std::size_t begin = at + mark.size();
    return object.substr(begin, object.find('.', begin) - begin);
}

// An inline function or template that an instruction set's object defines is weak: the linker may take that copy for
// every caller, on CPUs that cannot run it. So such an object may define no weak symbol of a library, and none that
// an object outside its instruction set defines or uses.
std::vector<std::string> leaks(const std::vector<Symbol>& symbols) {
    std::map<std::string, std::set<std::string>> users;  // name -> instruction sets that define or use it
    for (const Symbol& symbol : symbols) users[symbol.name].insert(isa_of(symbol.object));
    std::vector<std::string> out;
    for (const Symbol& symbol : symbols) {
        const std::string isa = isa_of(symbol.object);
        if (isa.empty() || (symbol.type != 'W' && symbol.type != 'V' && symbol.type != 'u')) continue;
        const bool own = demangle(symbol.name).find("tern::kernels::") != std::string::npos;
        if (!own || users[symbol.name].size() > 1)
            out.push_back(symbol.object + " defines the weak symbol " + demangle(symbol.name));
    }
    return out;
}

// Kernels neither allocate nor throw nor start threads: their objects ask no other library for it.
std::vector<std::string> needs_of_kernels(const std::vector<Symbol>& symbols) {
    std::vector<std::string> out;
    for (const Symbol& symbol : symbols) {
        if (symbol.object.find("/tern_kernels") == std::string::npos || symbol.type != 'U') continue;
        const std::string name = demangle(symbol.name);
        bool refused = name.starts_with("operator new") || name.starts_with("operator delete") ||
                       name.starts_with("std::") || name == "__cxa_throw" || name.starts_with("pthread_");
        for (const char* function : {"malloc", "calloc", "realloc", "free", "aligned_alloc", "abort", "printf"})
            refused |= name == function;
        if (refused) out.push_back(symbol.object + " uses " + name);
    }
    return out;
}

bool may_be_exported(const std::string& mangled) {
    std::string name = demangle(mangled);
    for (const char* prefix : {"typeinfo for ", "typeinfo name for ", "vtable for "})
        if (name.starts_with(prefix)) name.erase(0, std::string(prefix).size());
    return name.starts_with("tern::") || name.starts_with("tern_");
}

TEST(Symbols, NoWideInlineLeaksIntoNarrowCode) {
#if !TERN_PLAIN_OPTIMISED_BUILD
    GTEST_SKIP() << "only an optimised build without sanitizers says what is inlined";
#endif
    const std::vector<Symbol> symbols = run_nm("@" TERN_OBJECTS);
    std::set<std::string> isas;
    for (const Symbol& symbol : symbols) isas.insert(isa_of(symbol.object));
    EXPECT_TRUE(isas.contains("")) << "nm has read no object";
    for (const std::string& leak : leaks(symbols)) ADD_FAILURE() << leak;
    std::istringstream expected(TERN_BUILT_ISAS);
    for (std::string isa; expected >> isa;) EXPECT_TRUE(isas.contains(isa)) << "no object of " << isa;
}

TEST(Symbols, KernelsAskForNoMemoryThreadsOrExceptions) {
#if !TERN_PLAIN_OPTIMISED_BUILD
    GTEST_SKIP() << "only an optimised build without sanitizers says what is used";
#endif
    for (const std::string& need : needs_of_kernels(run_nm("@" TERN_OBJECTS))) ADD_FAILURE() << need;
}

TEST(Symbols, TheNeedsCheckRefuses) {
    std::istringstream nm(
        "a/tern_kernels_avx2.dir/t.o: _Znwm U\n"
        "a/tern_kernels.dir/t.o: _ZSt20__throw_length_errorPKc U\n"
        "a/tern_kernels.dir/t.o: free U\n"
        "a/tern_kernels.dir/t.o: memcpy U\n"
        "a/tern_kernels.dir/t.o: _ZN4tern4infoENS_5DTypeE U\n"
        "a/tern_base.dir/t.o: _Znwm U\n");
    EXPECT_EQ(needs_of_kernels(parse_nm(nm)).size(), 3u);
}

TEST(Symbols, TheLeakCheckRefuses) {
    std::istringstream nm(
        "a/tern_kernels_avx2.dir/t.o: _ZNSt6vectorIiSaIiEE9push_backEOi W 0 10\n"                 // std::vector<int>
        "a/tern_kernels_avx2.dir/t.o: _ZN4tern7kernels4avx25tableEv T 0 10\n"
        "a/tern_kernels_avx2.dir/t.o: _ZN4tern7kernels4avx24tileILi4EEEvv W 0 10\n"               // own, alone
        "a/tern_kernels_avx2.dir/t.o: _ZN4tern7kernels6sharedEv W 0 10\n"                         // own, used below
        "a/tern_kernels.dir/r.o: _ZN4tern7kernels6sharedEv U\n"
        "a/tern_kernels.dir/r.o: _ZNSt6vectorIfSaIfEE9push_backEOf W 0 10\n");
    const std::vector<Symbol> symbols = parse_nm(nm);
    ASSERT_EQ(symbols.size(), 6u);
    const std::vector<std::string> found = leaks(symbols);
    ASSERT_EQ(found.size(), 2u);
    EXPECT_NE(found[0].find("std::vector"), std::string::npos);
    EXPECT_NE(found[1].find("tern::kernels::shared"), std::string::npos);
}

TEST(Symbols, TheSharedLibraryExportsOnlyTern) {
#if !TERN_SHARED
    GTEST_SKIP() << "the library is built as an archive";
#endif
    const std::vector<Symbol> symbols = run_nm("-D --defined-only " TERN_LIBRARY);
    EXPECT_FALSE(symbols.empty());
    bool error_typeinfo = false;
    for (const Symbol& symbol : symbols) {
        const std::string name = demangle(symbol.name);
        EXPECT_TRUE(may_be_exported(symbol.name)) << name;
        EXPECT_EQ(name.find("tern::kernels::"), std::string::npos) << name << " is not public";
        error_typeinfo |= name == "typeinfo for tern::Error";
    }
    EXPECT_TRUE(error_typeinfo) << "a tern::Error could not be caught across the library's border";
}

TEST(Symbols, TheExportCheckRefuses) {
    EXPECT_TRUE(may_be_exported("_ZN4tern4infoENS_5DTypeE"));
    EXPECT_TRUE(may_be_exported("_ZTIN4tern5ErrorE"));
    EXPECT_TRUE(may_be_exported("tern_model_load"));
    EXPECT_FALSE(may_be_exported("_ZNSt6vectorIiSaIiEE9push_backEOi"));
    EXPECT_FALSE(may_be_exported("_ZTINSt6vectorIiSaIiEEE"));
    EXPECT_FALSE(may_be_exported("main"));
}

}  // namespace
}  // namespace tern::test
