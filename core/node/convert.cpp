// Field by field, in the order of the schema.
#include "core/node/convert.h"

#include <capnp/any.h>

namespace weft {
namespace {

constexpr size_t kItemBytes = 24;  // of a RequestItem's own, beside its key

/** The bytes of each item are in the message. Cap'n Proto also takes a list whose items have none:
 * a million of them in 64 bytes, which would cost a node as much as 48 MiB of calls. */
bool are_there(capnp::List<rpc::RequestItem>::Reader items) {
    return items.size() == 0 || capnp::toAny(items[0]).getDataSection().size() >= kItemBytes;
}

void put(const Key& key, rpc::Key::Builder out) {
    out.setHi(key.hi);
    out.setLo(key.lo);
}

void put_items(const std::vector<ReplyItem>& items, capnp::List<rpc::ReplyItem>::Builder out) {
    for (uint32_t i = 0; i < items.size(); i++) {
        out[i].setStatus(items[i].status);
        out[i].setSlot(items[i].slot);
        out[i].setGen(items[i].gen);
        out[i].setValue(items[i].value);
        out[i].setPlace(items[i].place);
    }
}

void get_items(capnp::List<rpc::ReplyItem>::Reader in, std::vector<ReplyItem>& out) {
    out.clear();
    out.reserve(in.size());
    for (auto item : in)
        out.push_back(
            {item.getStatus(), item.getSlot(), item.getGen(), item.getValue(), item.getPlace()});
}

}  // namespace

void to_rpc(const Request& request, rpc::Request::Builder out) {
    out.setVerb(static_cast<uint16_t>(request.verb));
    out.setPart(request.part);
    out.setFlags(request.flags);
    out.setTtlS(request.ttl_s);
    out.setStart(request.start);
    out.setSize(request.size);
    out.setNumber(request.number);
    out.setDeadline(request.deadline);
    out.setUser(request.user);
    out.setView(request.view);
    out.setHasParent(request.has_parent);
    if (request.has_parent) put(request.parent, out.initParent());
    auto items = out.initItems(static_cast<uint32_t>(request.items.size()));
    for (uint32_t i = 0; i < request.items.size(); i++) {
        const RequestItem& item = request.items[i];
        put(item.key, items[i].initKey());
        items[i].setSize(item.size);
        items[i].setSlot(item.slot);
        items[i].setChecksum(item.checksum);
    }
}

bool from_rpc(rpc::Request::Reader in, Request& out) {
    auto items = in.getItems();  // once: each look counts against the reader's limit
    if (in.getVerb() > static_cast<uint16_t>(Verb::release) || items.size() > kItemsMax ||
        !are_there(items))
        return false;
    out.verb = static_cast<Verb>(in.getVerb());
    out.part = in.getPart();
    out.flags = in.getFlags();
    out.ttl_s = in.getTtlS();
    out.start = in.getStart();
    out.size = in.getSize();
    out.number = in.getNumber();
    out.deadline = in.getDeadline();
    out.user = in.getUser();
    out.view = in.getView();
    out.has_parent = in.getHasParent();
    out.parent = {in.getParent().getHi(), in.getParent().getLo()};
    out.items.reserve(items.size());
    for (auto item : items) {
        auto key = item.getKey();
        out.items.push_back(
            {{key.getHi(), key.getLo()}, item.getSize(), item.getSlot(), item.getChecksum()});
    }
    return true;
}

void to_rpc(const Reply& reply, rpc::Reply::Builder out) {
    out.setStatus(reply.status);
    out.setDetail(reply.detail);
    out.setValue(reply.value);
    out.setHandle(reply.handle);
    out.setMessage(reply.message);
    put_items(reply.items, out.initItems(static_cast<uint32_t>(reply.items.size())));
    put_items(reply.stock, out.initStock(static_cast<uint32_t>(reply.stock.size())));
}

void from_rpc(rpc::Reply::Reader in, Reply& out) {
    out.status = in.getStatus();
    out.detail = in.getDetail();
    out.value = in.getValue();
    out.handle = in.getHandle();
    out.message = in.getMessage().cStr();
    get_items(in.getItems(), out.items);
    get_items(in.getStock(), out.stock);
}

}  // namespace weft
