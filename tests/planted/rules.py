"""Rules of protocols 1 to 4, each with the edit that drops it from what ships. White space does
not count; what is replaced must stand in its file once. The rules of protocols 2 are dropped in
tests/sim, where the machine's memory model is played, but for the number of a look-up's tries,
which is one there, and key 0 at version 0, which nobody saves there."""

from __future__ import annotations

from typing import NamedTuple

MEMORY = "fabric/memory/memory.cpp"
NAMESPACE = "core/space/namespace.cpp"
SEGMENTS = "core/space/segments.cpp"
ATTEMPTS = "core/write/attempts.cpp"
CLAIMS = "core/write/claims.cpp"
WAITING = "core/write/waiting.cpp"
CACHE = "core/cache.cpp"
STATE = "core/node/state.cpp"
NODE = "core/node/node.cpp"
SERVER = "core/node/server.cpp"
SERVING = "core/node/serving.cpp"
READER = "core/index/reader.h"
CONNECTION = "core/node/connection.cpp"
SPACE = "core/node/space.h"


class Rule(NamedTuple):
    """A rule, and the edit that drops it. The unit tests must notice."""

    words: str
    file: str
    before: str
    after: str


RULES = [
    # 1. Memory that processes share.
    Rule(
        "a data segment is fallocated by the node",
        MEMORY,
        "if (!index && fallocate(fd.get(), 0, 0, static_cast<off_t>(size)) != 0) {",
        "if (false) {",
    ),
    Rule(
        "memory files are closed to other users",
        MEMORY,
        "if (fchmod(fd.get(), 0600) != 0) return",
        "if (false) return",
    ),
    Rule(
        "nobody shrinks a segment under the node",
        MEMORY,
        "int seals = F_SEAL_SHRINK |",
        "int seals =",
    ),
    Rule("nobody adds a seal", MEMORY, "F_SEAL_GROW | F_SEAL_SEAL |", "F_SEAL_GROW |"),
    Rule(
        "an index is written by the node's mapping alone",
        MEMORY,
        "(index ? F_SEAL_FUTURE_WRITE : 0)",
        "0",
    ),
    Rule(
        "readers get a read-only re-open",
        MEMORY,
        "reopen(fd.get(), O_RDONLY)",
        "reopen(fd.get(), O_RDWR)",
    ),
    Rule(
        "no mapping crosses fork",
        MEMORY,
        "madvise(address, size, MADV_DONTFORK);",
        "",
    ),
    Rule(
        "a new segment's slots are given out when every process has it",
        SEGMENTS,
        "if (!of.process->push_segment(opening, *segment, write) && !of.late) "
        "segment->waiting.insert(opening);",
        "of.process->push_segment(opening, *segment, write);",
    ),
    Rule(
        "a process that is late for a second is not waited for",
        SEGMENTS,
        "now <= segment->opened + fabric::kSecond",
        "now <= segment->opened + 1000 * fabric::kSecond",
    ),
    Rule(
        "a process that was late is not waited for again",
        SEGMENTS,
        "write) && !of.late)",
        "write))",
    ),
    Rule(
        "a process that was late is waited for when it has confirmed a segment",
        SEGMENTS,
        "sessions_.at(found->second).late = false;",
        "",
    ),
    Rule(
        "a namespace is not emptied for memory that somebody keeps",
        SEGMENTS,
        "&& !retires(space->space->slots())) {",
        "&& (true || !retires(space->space->slots()))) {",
    ),
    Rule(
        "a retired segment is punched when every process has confirmed its munmap",
        SEGMENTS,
        "if (!segment.waiting.empty()) continue; slots.drop_segment(id);",
        "slots.drop_segment(id);",
    ),
    # 2. Reading in place.
    Rule(
        "a look-up under a sequence that stays odd has an end",
        READER,
        "retry < kRetries;",
        "retry >= 0;",
    ),
    Rule(
        "when its tries are over a look-up says to ask, not that there is nothing",
        READER,
        "return Look::ask;",
        "return Look::miss;",
    ),
    Rule(
        "a header that was never laid out is no block",
        READER,
        "if (odd(gen) || gen == 0) return Check::wrong;",
        "if (odd(gen)) return Check::wrong;",
    ),
    # 3. Life and death of processes.
    Rule(
        "whether a reservation is open or ended with its node is one look",
        SPACE,
        "return Word::ended; }",
        "return Word::ended; } stock_lock_.unlock(); "
        "for (int i = 0; i < 200; i++) number_.load(); stock_lock_.lock();",
    ),
    Rule(
        "what a process holds ends with the process, not with its connection",
        SERVER,
        "co_await connection->serve(node_server(*this, kj::addRef(*connection)), timer);",
        "co_await connection->serve(node_server(*this, kj::addRef(*connection)), timer); "
        "for (auto& [instance, process] : processes) "
        "node.with([&](Cache& cache, uint64_t now) "
        "{ cache.end_session(process->session, now); return 0; });",
    ),
    Rule(
        "after a reconnect the node ends the reservations that the process does not know",
        ATTEMPTS,
        "for (uint64_t id : others) end_reservation(id);",
        "",
    ),
    Rule(
        "after a reconnect the node takes back the slots that the process does not know",
        ATTEMPTS,
        "if (lost) space_.discard(slot); return lost;",
        "return lost && false;",
    ),
    Rule(
        "floors are on disk before advance returns",
        CACHE,
        "if (space.floor_kept < space.space->floor()) {",
        "if (false) {",
    ),
    Rule(
        "whoever takes the lock removes the clean mark",
        STATE,
        "if (ftruncate(lock.fd_.get(), 0) != 0) return failed(",
        "return lock; if (false) return failed(",
    ),
    Rule(
        "a node that did not end cleanly leaves no mark",
        STATE,
        "lock.was_clean_ = fresh || *before == kClean;",
        "lock.was_clean_ = true;",
    ),
    Rule(
        "a clean end stores serve_until = 0",
        NODE,
        "std::lock_guard<std::mutex> guard(lock_); cache_.set_serve_until(0);",
        "std::lock_guard<std::mutex> guard(lock_);",
    ),
    Rule(
        "what renews the lease has ended before serve_until = 0",
        NODE,
        "if (timer_.joinable()) timer_.join(); "
        "{ std::lock_guard<std::mutex> guard(lock_); cache_.set_serve_until(0); }",
        "{ std::lock_guard<std::mutex> guard(lock_); cache_.set_serve_until(0); } "
        "if (timer_.joinable()) timer_.join();",
    ),
    Rule(
        "the clean mark is written behind serve_until = 0",
        NODE,
        "{ std::lock_guard<std::mutex> guard(lock_); cache_.set_serve_until(0); } "
        "if (server_ != nullptr) server_->stop(); lock_file_.mark_clean();",
        "lock_file_.mark_clean(); "
        "{ std::lock_guard<std::mutex> guard(lock_); cache_.set_serve_until(0); } "
        "if (server_ != nullptr) server_->stop();",
    ),
    Rule(
        "the lock is given up last",
        NODE,
        "std::lock_guard<std::mutex> guard(lock_); cache_.set_serve_until(0);",
        "lock_file_ = LockFile(); "
        "std::lock_guard<std::mutex> guard(lock_); cache_.set_serve_until(0);",
    ),
    Rule(
        "a successor waits until the leases of a dead node have ended",
        NODE,
        "usleep(static_cast<useconds_t>(kLease / 1000));",
        "",
    ),
    Rule(
        "clocks that differ are refused",
        SERVING,
        "if (apart > 60 * fabric::kSecond) {",
        "if (false) {",
    ),
    Rule(
        "versions of the protocol that differ are refused",
        SERVING,
        "if (hello.getProtocol() != rpc::PROTOCOL_VERSION || "
        "hello.getLayout() != kLayoutVersion) {",
        "if (false) {",
    ),
    # 4. Writing.
    Rule(
        "parts of two writers never join",
        WAITING,
        "if (attempt != nullptr && attempt->writer != opening.writer) return held(pending, item);",
        "",
    ),
    Rule(
        "a part of the open attempt's writer joins ahead of all who wait",
        WAITING,
        "if (attempt != nullptr && attempt->writer != opening.writer) return held(pending, item);",
        "if (attempt != nullptr && (attempt->writer != opening.writer || "
        "waiters_.count(wanted.key) != 0)) return held(pending, item);",
    ),
    Rule(
        "when a waiter gets a fresh attempt, its writer's other waiting parts join it",
        WAITING,
        "if (attempt != nullptr && attempt->writer != opening.writer) return held(pending, item);",
        "if (attempt != nullptr && (attempt->writer != opening.writer || pending.waited[item])) "
        "return held(pending, item);",
    ),
    Rule(
        "those who wait look again when an attempt begins",
        WAITING,
        "if (fresh && status == 0) wake(wanted.key);",
        "",
    ),
    Rule(
        "a save publishes only what nobody else writes",
        WAITING,
        "if (const Attempt* attempt = open_attempt(wanted.key, opening.version)) {",
        "if (const Attempt* attempt = nullptr) {",
    ),
    Rule(
        "a part comes once in an attempt",
        ATTEMPTS,
        "if (part.final.overlaps(start, start + size)) return -WEFT_EEXISTS;",
        "",
    ),
    Rule(
        "two do not write the same part",
        ATTEMPTS,
        "if (part.reserved_by != 0 || !part.in_flight.empty()) return -WEFT_EHELD;",
        "",
    ),
    Rule(
        "a block is published when all parts are final and nobody holds one",
        ATTEMPTS,
        "if (!attempt.holders.empty()) return false;",
        "",
    ),
    Rule(
        "a timeout or an abort frees the key, never the slot",
        ATTEMPTS,
        "wake(attempt.key); if (attempt.holders.empty()) {",
        "wake(attempt.key); if (true) {",
    ),
    Rule(
        "a quarantined slot waits for every holder",
        ATTEMPTS,
        "if (opening != nullptr && opening->quarantined > 0) opening->quarantined--; "
        "if (attempt.holders.empty()) {",
        "if (opening != nullptr && opening->quarantined > 0) opening->quarantined--; if (true) {",
    ),
    Rule(
        "a process that never gives its word comes to a limit",
        ATTEMPTS,
        "if (opening.quarantined >= kQuarantineMax) {",
        "if (false) {",
    ),
    Rule(
        "a dead process's reservations end",
        ATTEMPTS,
        "for (uint64_t id : mine) end_reservation(id);",
        "",
    ),
    Rule(
        "an attempt whose writer is gone ends",
        ATTEMPTS,
        "end_orphans(opening.writer);",
        "",
    ),
    Rule(
        "a claim covers the rest of the chain",
        CLAIMS,
        "for (uint32_t i = first; i < request.items.size(); i++) {",
        "for (uint32_t i = first; i <= first; i++) {",
    ),
    Rule(
        "whoever claims waits for who has claimed",
        CLAIMS,
        "if (claimed_by_other(key, opening.version, mine ? request.number : 0)) return false;",
        "",
    ),
    Rule(
        "whoever claims waits for who writes",
        CLAIMS,
        "wait_for = key; if (open_attempt(key, opening.version) != nullptr) return false;",
        "wait_for = key;",
    ),
    Rule(
        "a claim ends block by block as they are published",
        ATTEMPTS,
        "found->second.keys.erase(key);",
        "",
    ),
    Rule(
        "a claim ends with its process",
        CLAIMS,
        "if (claim.session == session) over.push_back(id);",
        "if (claim.session == session && false) over.push_back(id);",
    ),
    Rule(
        "a claim ends with its time",
        WAITING,
        "if (claim.deadline <= now) over.push_back(id);",
        "if (claim.deadline <= now && false) over.push_back(id);",
    ),
    Rule(
        "an attempt ends with its time",
        WAITING,
        "if (attempts_.at(id).deadline <= now) over.push_back(id);",
        "if (attempts_.at(id).deadline <= now && false) over.push_back(id);",
    ),
    Rule(
        "a slot that became a block is no stock any more",
        WAITING,
        "opening.stock.remove(slot_bytes, wanted.slot);",
        "",
    ),
    Rule(
        "a stock is limited",
        WAITING,
        "return std::min<uint64_t>(kStockMax,",
        "return std::max<uint64_t>(kStockMax,",
    ),
    Rule(
        "a publish names slots of one's own stock",
        WAITING,
        "opening.stock.holds(wanted.slot) ? space_",
        "true ? space_",
    ),
    Rule(
        "a follower's bytes are of one attempt",
        WAITING,
        "if (attempt != nullptr && attempt->id == shown.attempt) return true;",
        "if (attempt != nullptr) return true;",
    ),
    Rule(
        "a follower reads up to the watermark",
        WAITING,
        "if (!request.view && part.final.prefix() < end) return false;",
        "if (!request.view && part.final.prefix() < end && false) return false;",
    ),
    # Hostile clients (P4).
    Rule(
        "a process has the rights of its last login",
        SERVING,
        "server_.admit(process, token, grants);",
        "",
    ),
    Rule(
        "segments are not sent to who lost the right",
        SEGMENTS,
        "if ((may & (kRead | kWrite)) == 0) continue;",
        "",
    ),
    Rule(
        "a floor is believed of those who could empty the namespace",
        CACHE,
        "options_.ephemeral && (allowed & (kWrite | kAdvance)) != 0;",
        "options_.ephemeral;",
    ),
    Rule(
        "a COMMIT that is denied is heard as an ABORT",
        CACHE,
        "if (request.verb == Verb::commit && (request.flags & WEFT_MORE) == 0) {",
        "if (false) {",
    ),
    Rule(
        "text that is kept is UTF-8",
        "core/base/options.cpp",
        "if (!is_utf8(all)) return",
        "if (false && !is_utf8(all)) return",
    ),
    Rule(
        "a ring of uses is walked so far and no further",
        NAMESPACE,
        "if (walked > kWalkedMost) continue;",
        "if (false && walked > kWalkedMost) continue;",
    ),
    Rule(
        "requests that wait have a limit",
        WAITING,
        "if (!settled && !all.waits && !may_wait(count, all.reply)) {",
        "if (false) {",
    ),
    Rule(
        "namespaces share what a node has for those who wait",
        WAITING,
        "<= most / 2 && blocks <= crowd_.waiting.left()) return true;",
        "<= most / 2) return true;",
    ),
    Rule(
        "namespaces share what a node has for claims",
        CLAIMS,
        "> most / 2 || blocks > crowd_.claimed.left()) {",
        "> most / 2) {",
    ),
    Rule(
        "a namespace that goes gives back what was claimed in it",
        "core/write/writing.h",
        "crowd_.claimed.give(claimed_.size());",
        "",
    ),
    Rule(
        "what is renewed is a claim of the same version",
        CLAIMS,
        "&& renewed->second.version == opening.version;",
        ";",
    ),
    Rule(
        "a claim has its longest time",
        CLAIMS,
        "std::min(request.ttl_s, std::max(kClaimSecondsMost, write_s));",
        "request.ttl_s;",
    ),
    Rule(
        "a client's option text has so many bytes",
        "core/base/options.cpp",
        "if (text.size() > kTextMost) {",
        "if (false) {",
    ),
    Rule(
        "a client's option text has so many keys",
        "core/base/options.cpp",
        "if (options.entries_.size() >= keys_most)",
        "if (false && keys_most)",
    ),
    Rule(
        "a writer's name has its longest",
        "core/space/config.cpp",
        "if (value->size() > most) {",
        "if (false && most) {",
    ),
    Rule(
        "of a client that reads no answers no more calls are read",
        "core/node/lane_server.cpp",
        "while (unwritten_ > kUnwrittenMax || unwritten_bytes_ > kUnwrittenBytes) {",
        "while (unwritten_ > kUnwrittenMax) {",
    ),
    Rule(
        "a process has so many sessions",
        SERVING,
        "if (of_process >= SocketServer::kSessionsOfProcess ||",
        "if (false ||",
    ),
    Rule(
        "a user has so many sessions",
        SERVING,
        "of_user >= SocketServer::kSessionsOfUser) {",
        "false) {",
    ),
    Rule(
        "a user has so many connections",
        SERVER,
        "if (connections_[uid] >= kConnectionsOfUser) co_return;",
        "",
    ),
    Rule(
        "a login has its time",
        CONNECTION,
        "kLoginMost = 10 * kj::SECONDS;",
        "kLoginMost = 1000 * kj::SECONDS;",
    ),
    Rule(
        "a process is sent so many descriptors",
        "core/node/sending.cpp",
        "if (process.files >= ClientProcess::kFilesMost)",
        "if (false)",
    ),
    Rule(
        "a token that holds no more is waited for a second",
        SERVER,
        "kRenewMost = 1 * kj::SECONDS;",
        "kRenewMost = 1000 * kj::SECONDS;",
    ),
    Rule(
        "a message has its largest",
        CONNECTION,
        "options.traversalLimitInWords = kMessageWords;",
        "",
    ),
    Rule(
        "no more is read while so many calls are not answered",
        CONNECTION,
        "system.setFlowLimit(kCallWords);",
        "",
    ),
    Rule(
        "no more is read while so many answers are unread",
        CONNECTION,
        "network->getCurrentQueueCount() > kUnreadMost ||",
        "",
    ),
    Rule(
        "so many blocks that are being written are followed",
        WAITING,
        "if (opening.following.size() >= kFollowingMax) {",
        "if (false) {",
    ),
    Rule(
        "a namespace remembers why so many blocks left",
        "core/stats/ghosts.h",
        "uint64_t size = kFewest;",
        "uint64_t size = 1024;",
    ),
    Rule(
        "a session's end takes all its openings along",
        CACHE,
        "Status told = close_opening(id, found->second.openings.begin()->first, now);",
        "if (!close_opening(id, found->second.openings.begin()->first, now)) break;",
    ),
    # P8. Nobody waits for another's copy.
    Rule(
        "copies are outside of the section that drops and closes wait for",
        "core/node/ops_end.cpp",
        "runner.go_on(*work.operation);",
        "ReadSide::Section section(read_side_); runner.go_on(*work.operation);",
    ),
    Rule(
        "a drop waits for the calls that may have found the region",
        "core/node/store.cpp",
        "bool alone = read_side_.synchronize(deadline);\n    fabric::Mapping mapping;",
        "bool alone = deadline > 0;\n    fabric::Mapping mapping;",
    ),
    Rule(
        "the place of what is being dropped is not free",
        "core/node/store.cpp",
        "region.id.load() != 0 || region.leaving != 0) continue;",
        "region.id.load() != 0) continue;",
    ),
    Rule(
        "a wait that gave up leaves its calls to the next one",
        "core/node/read_side.h",
        "while (!empty(before ^ 1)) {",
        "while (false) {",
    ),
    Rule(
        "who reaps hashes no other queue's views",
        "core/node/ops_read.cpp",
        "WEFT_OP_VIEW && (operation.op.flags & WEFT_VERIFY) == 0 &&\n operation.count",
        "WEFT_OP_VIEW &&\n operation.count",
    ),
    Rule(
        "who submits copies no more than inline_bytes",
        "core/node/ops_read.cpp",
        "if (own > operation.own_bytes) {",
        "if (own == UINT64_MAX) {",
    ),
]
