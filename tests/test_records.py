import numpy as np
import pytest

from harness._shm import RECORD_BYTES, record_layout
from harness._tally import BUCKET_FIELDS, Tally
from harness.records import ABSENT_NS, BUCKET_NS, NO_SERVER, RECORD, Decision, Flag, Outcome, Reason


def test_a_record_is_the_c_struct_field_by_field():
    layout = record_layout()
    assert list(layout) == list(RECORD.names)
    for name, (offset, size) in layout.items():
        dtype, at = RECORD.fields[name][:2]
        assert (at, dtype.itemsize) == (offset, size), name
    assert RECORD.itemsize == RECORD_BYTES == 64


def test_a_record_is_packed_and_little_endian():
    ends = [at + dtype.itemsize for dtype, at in RECORD.fields.values()]
    assert [at for _, at in RECORD.fields.values()] == [0, *ends[:-1]]
    row = np.zeros((), dtype=RECORD)
    row["slot"] = 0x0102030405060708
    assert row.tobytes()[:8] == bytes([8, 7, 6, 5, 4, 3, 2, 1])


@pytest.mark.parametrize(
    ("name", "signed"), [("slot", True), ("t_done_ns", True), ("epoch", False), ("flags", False)]
)
def test_signedness(name, signed):
    assert (RECORD[name].kind == "i") == signed


def test_values_fit_their_fields():
    for enum, name in ((Outcome, "outcome"), (Decision, "decision"), (Reason, "reason")):
        assert [member.value for member in enum] == list(range(len(enum)))
        assert len(enum) <= np.iinfo(RECORD[name]).max
    assert [flag.value for flag in Flag] == [1 << bit for bit in range(len(Flag))]
    assert sum(Flag) <= np.iinfo(RECORD["flags"]).max
    assert np.iinfo(RECORD["server"]).max == NO_SERVER
    assert ABSENT_NS < 0


def test_c_and_python_agree_on_outcomes_decisions_and_flags():
    tally = Tally(1, 1, BUCKET_NS)
    row = np.zeros(1, dtype=RECORD)
    row["outcome"], row["decision"], row["flags"] = Outcome.OK, Decision.IN_TIME, Flag.CLIENT_LATE
    tally.add_rows(row)
    assert tally.counts[0, Outcome.OK, Decision.IN_TIME] == 1
    found = dict(zip(BUCKET_FIELDS, tally.buckets[0, 0].tolist(), strict=True))
    assert found == {"decided": 1, "violations": 0, "ok": 1, "errors": 0, "client_late": 1}
