"""What a worker process does before its first phase."""

import os

from harness.load.worker import whole


def test_a_file_is_read_whole_wherever_another_worker_has_moved_its_position():
    fd = os.memfd_create("body")
    content = os.urandom(10_000)
    os.write(fd, content)
    for position in (0, 17, len(content)):
        os.lseek(fd, position, os.SEEK_SET)
        assert whole(fd) == content
        assert os.lseek(fd, 0, os.SEEK_CUR) == position
    os.close(fd)
