@0xd1a3c5f0b7e92846;
# The least that a call can be: for the reference of rows that cost one round trip.
interface Empty {
    call @0 ();
}
