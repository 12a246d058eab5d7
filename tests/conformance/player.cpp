// The player in C++: as player.c, but through the classes of weft.hpp wherever there is one, so
// that these are what is tested.
//
// Invariants: it decides nothing and compares nothing. Handles that it did not give itself
// (garbage, closed) go to the C function, since no object of weft.hpp can hold them. An unknown
// verb ends it with status 2.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>
#include <weft.hpp>

namespace {

/** A request's words, and how they are read. */
class Request {
  public:
    explicit Request(const std::string& line) {
        std::istringstream words(line);
        words >> verb_;
        for (std::string word; words >> word;) {
            const size_t equals = word.find('=');
            words_[word.substr(0, equals)] = word.substr(equals + 1);
        }
    }
    const std::string& verb() const { return verb_; }
    bool has(const std::string& name) const { return words_.count(name) != 0; }
    std::string word(const std::string& name) const { return has(name) ? words_.at(name) : ""; }
    uint64_t number(const std::string& name) const {
        const std::string text = word(name);
        if (text.empty()) return 0;
        return text[0] == '-' ? static_cast<uint64_t>(std::stoll(text)) : std::stoull(text);
    }
    uint32_t number32(const std::string& name) const { return static_cast<uint32_t>(number(name)); }
    template <typename T>
    T* pointer(const std::string& name) const {
        return reinterpret_cast<T*>(number(name));
    }
    std::string text(const std::string& name) const {
        std::string out;
        const std::string digits = word(name);
        for (size_t i = 0; i + 1 < digits.size(); i += 2)
            out += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
        return out;
    }
    /** Comma-separated items of colon-separated numbers. */
    std::vector<std::array<uint64_t, 4>> rows(const std::string& name) const {
        std::vector<std::array<uint64_t, 4>> out;
        std::istringstream list(word(name));
        for (std::string row; std::getline(list, row, ',');) {
            std::istringstream cells(row);
            std::array<uint64_t, 4> numbers{};
            size_t i = 0;
            for (std::string cell; i < 4 && std::getline(cells, cell, ':');)
                numbers[i++] = std::stoull(cell);
            out.push_back(numbers);
        }
        return out;
    }
    std::vector<weft_item> items() const {
        std::vector<weft_item> out;
        for (const auto& row : rows("items"))
            out.push_back({row[0], row[1], row[2], static_cast<uint32_t>(row[3]), 0});
        return out;
    }

  private:
    std::string verb_;
    std::map<std::string, std::string> words_;
};

using Out = std::ostringstream;

void put_hex(Out& out, const char* name, const std::string& bytes) {
    static const char kDigits[] = "0123456789abcdef";
    out << ' ' << name << '=';
    for (const char c : bytes) out << kDigits[(c >> 4) & 15] << kDigits[c & 15];
}

void put_items(Out& out, const weft_item* items, size_t count) {
    out << " items=";
    for (size_t i = 0; i < count; i++)
        out << (i == 0 ? "" : ",") << items[i].key_hi << ':' << items[i].key_lo << ':'
            << items[i].offset << ':' << items[i].size << ':' << items[i].status;
}

/** What this process has opened. In the order in which it may be closed backwards. */
struct World {
    std::map<uint64_t, weft::Store> stores;
    std::map<uint64_t, weft::Queue> queues;
    std::map<std::pair<uint64_t, uint32_t>, weft::Region> regions;
    std::map<std::pair<uint64_t, uint32_t>, weft::Namespace> spaces;
    std::map<std::pair<uint64_t, uint64_t>, weft::View> views;

    weft::Store* store(const Request& r) {
        const auto found = stores.find(r.number("store"));
        return found == stores.end() ? nullptr : &found->second;
    }
    weft::Queue* queue(const Request& r) {
        const auto found = queues.find(r.number("queue"));
        return found == queues.end() ? nullptr : &found->second;
    }
    weft::Namespace* space(const Request& r) {
        const auto found = spaces.find({r.number("store"), r.number32("space")});
        return found == spaces.end() ? nullptr : &found->second;
    }
};

void open_store(World& world, const Request& r, Out& out) {
    weft::Store store(r.text("options"));
    const auto number = reinterpret_cast<uint64_t>(store.get());
    world.stores.insert_or_assign(number, std::move(store));
    out << "code=0 store=" << number;
}

void close_store(World& world, const Request& r, Out& out) {
    weft::Store* store = world.store(r);
    if (store == nullptr) {
        out << "code=" << weft_close(r.pointer<weft_store>("store"));
        return;
    }
    store->close();
    world.stores.erase(r.number("store"));
    out << "code=0";
}

void query(World& world, const Request& r, Out& out) {
    weft::Store* store = world.store(r);
    if (store != nullptr && r.number("capacity") > 1000) {
        const std::string answer = store->query(r.text("text"), r.number32("space"));
        out << "code=" << answer.size();
        put_hex(out, "message", answer);
        return;
    }
    std::string answer(r.number("capacity") + 1, '\0');
    weft_error error = weft::make_error();
    const int32_t code =
        weft_query(r.pointer<weft_store>("store"), r.number32("space"), r.text("text").c_str(),
                   answer.data(), r.number32("capacity"), &error);
    out << "code=" << code;
    put_hex(out, "message", code >= 0 ? answer.c_str() : error.message);
}

void namespace_open(World& world, const Request& r, Out& out) {
    weft::Store* store = world.store(r);
    if (store == nullptr) {
        out << "code="
            << weft_namespace_open(r.pointer<weft_store>("store"), r.text("name").c_str(),
                                   r.text("options").c_str(), nullptr, nullptr);
        return;
    }
    weft::Namespace space(*store, r.text("name"), r.text("options"));
    const weft_namespace& info = space.info();
    out << "code=0 space=" << info.space << " parts=" << info.parts
        << " block_tokens=" << info.block_tokens << " layers=" << info.layers
        << " alignment=" << info.alignment << " part_bytes=" << info.part_bytes
        << " version=" << info.version << " floor=" << info.floor;
    world.spaces.insert_or_assign({r.number("store"), info.space}, std::move(space));
}

void namespace_close(World& world, const Request& r, Out& out) {
    const int32_t code = weft_namespace_close(r.pointer<weft_store>("store"), r.number32("space"));
    world.spaces.erase({r.number("store"), r.number32("space")});
    out << "code=" << code;
}

void region_open(World& world, const Request& r, Out& out, bool map) {
    weft::Store* store = world.store(r);
    if (store == nullptr || r.has("options")) {
        uint32_t id = 0;
        uint64_t address = 0;
        weft_error error = weft::make_error();
        out << "code="
            << weft_region_map(r.pointer<weft_store>("store"), r.number("size"),
                               r.text("options").c_str(), &id, &address, &error);
        put_hex(out, "message", error.message);
        return;
    }
    weft::Region region = map ? weft::Region::map(*store, r.number("size"))
                              : weft::Region::adopt(*store, r.number("address"), r.number("size"),
                                                    static_cast<int32_t>(r.number("device")));
    out << "code=0 region=" << region.id()
        << " address=" << reinterpret_cast<uint64_t>(region.address());
    const uint32_t id = region.id();
    world.regions.insert_or_assign({r.number("store"), id}, std::move(region));
}

void pool_open(World& world, const Request& r, Out& out) {
    weft::Store* store = world.store(r);
    std::vector<uint64_t> bases;
    for (const auto& row : r.rows("bases")) bases.push_back(row[0]);
    if (store == nullptr) throw weft::Error(WEFT_ECLOSED, "the store is closed");
    weft::Region pool = weft::Region::pool(*store, r.text("layout"), bases.data(), bases.size(),
                                           static_cast<int32_t>(r.number("device")));
    const uint32_t id = pool.id();
    out << "code=0 region=" << id;
    world.regions.insert_or_assign({r.number("store"), id}, std::move(pool));
}

void region_drop(World& world, const Request& r, Out& out) {
    const int32_t code = weft_region_drop(r.pointer<weft_store>("store"), r.number32("region"));
    out << "code=" << code;
    if (code == 0) {
        /* Dropped already: the object's own drop is answered with an error and ends it. */
        world.regions.erase({r.number("store"), r.number32("region")});
    }
}

void queue_open(World& world, const Request& r, Out& out) {
    weft::Store* store = world.store(r);
    weft_queue* raw = nullptr;
    if (store == nullptr) {
        out << "code=" << weft_queue_open(r.pointer<weft_store>("store"), nullptr, &raw, nullptr)
            << " queue=0";
        return;
    }
    weft::Queue queue(*store, r.text("options"));
    const auto number = reinterpret_cast<uint64_t>(queue.get());
    world.queues.insert_or_assign(number, std::move(queue));
    out << "code=0 queue=" << number;
}

void queue_fd(World& world, const Request& r, Out& out) {
    weft::Queue* queue = world.queue(r);
    const int fd =
        queue != nullptr ? queue->fd() : weft::check(weft_queue_fd(r.pointer<weft_queue>("queue")));
    pollfd polled{fd, POLLIN, 0};
    out << "code=0 readable=" << poll(&polled, 1, static_cast<int>(r.number("timeout_ms")));
}

void submit(World& world, const Request& r, Out& out) {
    weft_op op{};
    for (const auto& [key, space] : world.spaces)
        if (key.second == r.number32("space")) op = space.op(0);
    op = {r.number("tag"),
          r.number("key_hi"),
          r.number("key_lo"),
          r.number("offset"),
          r.number32("size"),
          r.number32("start"),
          r.number32("space"),
          r.number32("region"),
          r.number32("timeout_ms"),
          r.number32("ttl_s"),
          r.number32("flags"),
          static_cast<uint16_t>(r.number("kind")),
          static_cast<uint16_t>(r.number("part"))};
    std::vector<weft_op> ops(r.number("count"), op);
    for (size_t i = 0; i < ops.size(); i++) ops[i].tag += i;
    weft::Queue* queue = world.queue(r);
    int64_t code = queue != nullptr ? static_cast<int64_t>(queue->submit(ops.data(), ops.size()))
                                    : weft_submit(r.pointer<weft_queue>("queue"), ops.data(),
                                                  r.number32("count"));
    out << "code=" << (code == 0 && !ops.empty() ? -WEFT_EAGAIN : code);
}

void reap(World& world, const Request& r, Out& out) {
    std::vector<weft_event> events(r.number("capacity"));
    weft::Queue* queue = world.queue(r);
    const auto wait = static_cast<int32_t>(r.number("timeout_ms"));
    const auto count = queue != nullptr
                           ? static_cast<int32_t>(queue->reap(events.data(), events.size(), wait))
                           : weft_reap(r.pointer<weft_queue>("queue"), events.data(),
                                       r.number32("capacity"), wait);
    out << "code=" << count << " events=";
    for (int32_t i = 0; i < count; i++) {
        const weft_event& e = events[static_cast<size_t>(i)];
        out << (i == 0 ? "" : ",") << e.tag << ':' << e.value << ':' << e.handle << ':' << e.status
            << ':' << e.detail;
    }
}

void match(World& world, const Request& r, Out& out) {
    const std::vector<weft_item> items = r.items();
    weft::Namespace* space = world.space(r);
    if (space != nullptr)
        out << "code=" << space->match(items.data(), items.size());
    else
        out << "code="
            << weft_match(r.pointer<weft_store>("store"), r.number32("space"), items.data(),
                          static_cast<uint32_t>(items.size()));
}

void view(World& world, const Request& r, Out& out) {
    std::vector<weft_item> items = r.items();
    weft::Namespace* space = world.space(r);
    if (space == nullptr) {
        uint64_t handle = 0;
        out << "code="
            << weft_view(r.pointer<weft_store>("store"), r.number32("space"), r.number32("part"),
                         items.data(), static_cast<uint32_t>(items.size()), &handle);
        return;
    }
    weft::View view =
        space->view(items.data(), items.size(), static_cast<uint16_t>(r.number("part")));
    const uint64_t handle = view.handle();
    out << "code=" << (view.status() < 0 ? view.status() : static_cast<int64_t>(view.event().value))
        << " handle=" << handle;
    put_items(out, items.data(), items.size());
    if (view) world.views.insert_or_assign({r.number("store"), handle}, std::move(view));
}

void release(World& world, const Request& r, Out& out) {
    std::vector<uint64_t> handles;
    for (const auto& row : r.rows("handles")) handles.push_back(row[0]);
    int32_t code = 0;
    for (const uint64_t handle : handles) {
        const auto found = world.views.find({r.number("store"), handle});
        if (found != world.views.end())
            world.views.erase(found); /* ~View releases it. */
        else
            code = weft_release(r.pointer<weft_store>("store"), &handle, 1);
    }
    out << "code=" << code;
}

void keys(World&, const Request& r, Out& out) {
    std::vector<uint32_t> tokens;
    for (const auto& row : r.rows("tokens")) tokens.push_back(static_cast<uint32_t>(row[0]));
    std::string chain = r.text("chain");
    auto* digest = r.has("chain") ? reinterpret_cast<uint8_t*>(chain.data()) : nullptr;
    std::vector<weft_item> items = weft::keys(r.text("options"), tokens.data(), tokens.size(),
                                              r.number32("block_tokens"), digest);
    if (items.size() > r.number("capacity")) items.resize(r.number("capacity"));
    out << "code=" << items.size() << " keys=";
    for (size_t i = 0; i < items.size(); i++)
        out << (i == 0 ? "" : ",") << items[i].key_hi << ':' << items[i].key_lo;
    if (digest != nullptr) put_hex(out, "chain", chain);
}

void key_of(World&, const Request& r, Out& out) {
    const weft::Key key = weft::Key::of(r.text("bytes"));
    out << "code=0 key=" << key.hi << ':' << key.lo;
}

void about(World&, const Request& r, Out& out) {
    out << "abi=" << weft_abi();
    put_hex(out, "version", weft_version());
    put_hex(out, "name", weft_code_name(static_cast<int32_t>(r.number("number"))));
}

/* The content of scenarios: see content() in world.py. */
void fill(World&, const Request& r, Out& out) {
    auto* to = r.pointer<uint8_t>("address");
    const uint64_t more =
        r.number("key") * 131 + r.number("part") * 61 + r.number("generation") * 29;
    const uint64_t start = r.number("start"), end = start + r.number("size");
    for (uint64_t i = start; i < end; i++)
        *to++ = static_cast<uint8_t>(i * 7 + (i >> 8) * 31 + more);
    out << "code=0";
}

void crc(World&, const Request& r, Out& out) {
    const auto* from = r.pointer<uint8_t>("address");
    uint32_t crc = ~0u;
    for (uint64_t left = r.number("size"); left > 0; left--) {
        crc ^= *from++;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1)));
    }
    out << "crc=" << ~crc;
}

void memory(World&, const Request& r, Out& out) {
    static std::vector<std::vector<uint64_t>>
        kept;  // the caller's own memory, until the player ends
    kept.emplace_back(r.number("size") / sizeof(uint64_t) + 1);
    out << "address=" << reinterpret_cast<uint64_t>(kept.back().data());
}

void paint(World&, const Request& r, Out& out) {
    std::memset(r.pointer<void>("address"), static_cast<int>(r.number("byte")), r.number("size"));
    out << "code=0";
}

void write_items(World&, const Request& r, Out& out) {
    const std::vector<weft_item> items = r.items();
    std::memcpy(r.pointer<void>("address"), items.data(), items.size() * sizeof(weft_item));
    out << "code=0";
}

void items_back(World&, const Request& r, Out& out) {
    out << "code=0";
    put_items(out, r.pointer<weft_item>("address"), r.number("count"));
}

using Verb = void (*)(World&, const Request&, Out&);
const std::map<std::string, Verb> kVerbs = {
    {"open", open_store},
    {"close", close_store},
    {"query", query},
    {"namespace_open", namespace_open},
    {"namespace_close", namespace_close},
    {"region_map", [](World& w, const Request& r, Out& o) { region_open(w, r, o, true); }},
    {"region_adopt", [](World& w, const Request& r, Out& o) { region_open(w, r, o, false); }},
    {"pool_open", pool_open},
    {"region_drop", region_drop},
    {"queue_open", queue_open},
    {"queue_close",
     [](World&, const Request& r, Out& o) {
         o << "code=" << weft_queue_close(r.pointer<weft_queue>("queue"));
     }},
    {"queue_fd", queue_fd},
    {"submit", submit},
    {"reap", reap},
    {"match", match},
    {"view", view},
    {"release", release},
    {"keys", keys},
    {"key_of", key_of},
    {"about", about},
    {"fill", fill},
    {"crc", crc},
    {"memory", memory},
    {"paint", paint},
    {"items", write_items},
    {"items_back", items_back},
};

/** The answer to one line; what weft.hpp threw is its code and words. */
std::string answer(World& world, const Request& request) {
    Out out;
    const auto verb = kVerbs.find(request.verb());
    if (verb == kVerbs.end()) std::_Exit(2);
    try {
        verb->second(world, request, out);
    } catch (const weft::Error& error) {
        out.str("");
        out << "code=" << -error.code() << " store=0 queue=0 region=0";
        put_hex(out, "message", error.what());
    }
    return out.str();
}

/** The rest of the line in a forked child, whose answer is passed on. */
std::string in_child(World& world, const std::string& line) {
    int ends[2];
    if (pipe(ends) != 0) std::_Exit(2);
    const pid_t child = fork();
    if (child == 0) {
        const std::string text = answer(world, Request(line));
        const ssize_t written = write(ends[1], text.data(), text.size());
        std::_Exit(written < 0);
    }
    close(ends[1]);
    std::string text(4096, '\0');
    const ssize_t got = read(ends[0], text.data(), text.size());
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    text.resize(static_cast<size_t>(got < 0 ? 0 : got));
    return status == 0 ? text : "code=-16 child=" + std::to_string(status);
}

}  // namespace

int main() {
    World world;
    for (std::string line; std::getline(std::cin, line);) {
        const bool forked = line.rfind("fork ", 0) == 0;
        std::cout << (forked ? in_child(world, line.substr(5)) : answer(world, Request(line)))
                  << std::endl;
    }
    return 0;
}
