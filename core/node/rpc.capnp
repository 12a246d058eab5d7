# The calls between a process and its node, over a UNIX socket with attached descriptors. A capability is the only way to name
# a thing: what a login returns is the session, what a session returns is the namespace. Fields mirror core/write/request.h.
@0xe2a1f0b6c3d94d17;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("weft::rpc");

# Bumped when a field changes its meaning or a call its contract; compared at login, both sides, before anything else.
const protocolVersion :UInt32 = 1;

struct Key { hi @0 :UInt64; lo @1 :UInt64; }

struct RequestItem { key @0 :Key; size @1 :UInt64; slot @2 :UInt32; checksum @3 :UInt64; }

struct Request {
  verb @0 :UInt16;
  part @1 :UInt32;
  flags @2 :UInt32;
  ttlS @3 :UInt32;
  start @4 :UInt64;
  size @5 :UInt64;
  number @6 :UInt64;
  deadline @7 :UInt64;
  user @8 :Bool;
  view @9 :Bool;
  hasParent @10 :Bool;
  parent @11 :Key;
  items @12 :List(RequestItem);
}

struct ReplyItem { status @0 :Int32; slot @1 :UInt32; gen @2 :UInt64; value @3 :UInt64; place @4 :UInt64; }

struct Reply {
  status @0 :Int32;
  detail @1 :UInt32;
  value @2 :UInt64;
  handle @3 :UInt64;
  message @4 :Text;
  items @5 :List(ReplyItem);
  stock @6 :List(ReplyItem);
}

# A failure with a story, as a value: exceptions are for lost connections.
struct Failure { code @0 :Int32; message @1 :Text; }

# An attached descriptor: of shared memory, or a pidfd.
interface File {}

struct Segment { id @0 :UInt32; slotBytes @1 :UInt64; size @2 :UInt64; read @3 :File; write @4 :File; }

# What a process offers its node.
interface Process {
  addSegment @0 (opening :UInt64, segment :Segment) -> ();
  dropSegment @1 (opening :UInt64, id :UInt32) -> ();
  # Asked when the token of the login holds no more, before its rights end: the one to use from now on.
  token @2 () -> (token :Text);
}

struct Hello {
  protocol @0 :UInt32;
  layout @1 :UInt64;      # of the shared memory
  version @2 :Text;       # of the library, for people
  bootTime @3 :UInt64;    # the client's CLOCK_BOOTTIME in ns: time namespaces differ
  token @4 :Text;
  pidfd @5 :File;         # of the client's process: what it holds ends with it, not with the connection
  process @6 :Process;
  instance @7 :UInt64;    # random, one a store: a reconnect finds its session again
}

interface Node {
  login @0 (hello :Hello) -> (failure :Failure, session :Session, warning :Text);
}

interface Session {
  open @0 (name :Text, options :Text, floorKnown :UInt64) -> (failure :Failure, opened :Opened);
  # After a reconnect to a node that still knows the opening: what the process still knows of it. The rest it holds no more.
  resume @1 (opening :UInt64, reservations :List(UInt64), stock :List(UInt32)) -> (failure :Failure, space :Space);
  query @2 (words :Text) -> (failure :Failure, json :Text);
  # A socket of this session for LaneCall and LaneAnswer, framed as Cap'n Proto frames messages. A session has one: the next
  # ends the last. Asked for after all that is resumed: openings of before the login that were not, end.
  lane @3 () -> (socket :File);
  # The process is done with it: what it held goes at once.
  close @4 () -> ();
}

# What is asked most often and must be quick takes a lane: whoever submits writes to it and whoever waits reads from it, so
# that no thread of the client stands between them and the node.
struct LaneCall { id @0 :UInt64; opening @1 :UInt64; request @2 :Request; }
struct LaneAnswer { id @0 :UInt64; reply @1 :Reply; }

struct Opened {
  opening @0 :UInt64;
  version @1 :UInt64;
  config @2 :Text;        # JSON
  index @3 :File;
  page @4 :File;
  segments @5 :List(Segment);
  space @6 :Space;
  populate @7 :Bool;
}

interface Space {
  query @0 (words :Text) -> (failure :Failure, json :Text);
  segment @1 (id :UInt32) -> (found :Bool, segment :Segment);
  close @2 () -> (failure :Failure);
}
