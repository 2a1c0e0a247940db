# Data files that are not what the scenario says: every message names the file and what was expected.
"""Truncated, foreign and missing data files, met through `bubblescope run`. Needs the LibTorch backend."""

import struct

from program import InFolder, main, needs_torch, run

SCENARIO = """
[model]
name = "mlp"
image = [3, {side}, {side}]
classes = {classes}
depth = 2
width = 8
[data]
set = "{set}"
path = "data"
[training]
batch = 4
[run]
iterations = 1
warmup = 0
repeats = 1
[[schedule]]
name = "naive"
"""


def mat5(**variables):
    """A MATLAB 5 file of uint8 arrays, {name: (dimensions, bytes)}, as `save -v6` writes it."""
    def element(kind, data):
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    text = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + struct.pack("<H", 0x0100) + b"IM"
    for name, (dimensions, data) in variables.items():
        text += element(14, element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack(f"<{len(dimensions)}i", *dimensions)) +
                        element(1, name.encode()) + element(2, data))
    return text


def svhn(samples, labels=None):
    return mat5(X=((32, 32, 3, samples), bytes(range(256)) * (12 * samples)), y=((samples, 1), labels or bytes([1] * samples)))


def records(prefix, samples, label=1):
    return (bytes([label] * prefix) + bytes(3072)) * samples


# set -> what its folder holds: enough for one batch of four
FILES = {
    "cifar10": {**{f"data_batch_{batch}.bin": records(1, 2) for batch in range(1, 6)}, "test_batch.bin": records(1, 4)},
    "cifar100": {"train.bin": records(2, 8), "test.bin": records(2, 4)},
    "svhn": {"train_32x32.mat": svhn(8), "test_32x32.mat": svhn(4)},
    "stl10": {"train_X.bin": bytes(27648 * 8), "train_y.bin": bytes([1] * 8), "test_X.bin": bytes(27648 * 4), "test_y.bin": bytes([10] * 4)},
}


@needs_torch
class DataFiles(InFolder):
    def scenario(self, data_set, **replaced):
        for name, content in (FILES[data_set] | replaced).items():
            self.write(f"data/{name}", content)
        return self.write("s.toml", SCENARIO.format(set=data_set, classes=100 if data_set == "cifar100" else 10, side=96 if data_set == "stl10" else 32))

    def refused(self, data_set, name, content, *expected):
        message = self.fails(2, "run", self.scenario(data_set, **{name: content}))
        for text in (f"data/{name}", *expected):
            self.assertIn(text, message)

    def test_the_files_themselves_are_good(self):
        for data_set in FILES:
            with self.subTest(set=data_set):
                answer = run("run", self.scenario(data_set))
                self.assertEqual(answer.returncode, 0, answer.stderr)

    def test_a_truncated_file_is_told_with_its_size_or_what_is_cut(self):
        for data_set, name, size in [("cifar10", "data_batch_1.bin", "records of 3073 bytes"), ("cifar100", "test.bin", "records of 3074 bytes"),
                                     ("stl10", "train_X.bin", "images of 27648 bytes"), ("svhn", "train_32x32.mat", "truncated"), ("svhn", "test_32x32.mat", "truncated")]:
            with self.subTest(set=data_set, file=name):
                self.refused(data_set, name, FILES[data_set][name][:-100], size, "truncated")
        self.refused("stl10", "train_y.bin", b"\1" * 7, "7 labels", "8 images")

    def test_a_text_file_in_its_place_is_told(self):
        text = b"<html><body>404 Not Found</body></html>\n"
        for data_set, name in [("cifar10", "test_batch.bin"), ("cifar100", "train.bin"), ("stl10", "test_X.bin"), ("stl10", "train_y.bin"), ("svhn", "train_32x32.mat")]:
            with self.subTest(set=data_set, file=name):
                self.refused(data_set, name, text, "expected")
        self.refused("cifar10", "test_batch.bin", b"", "0 bytes")

    def test_a_foreign_file_of_the_right_kind_is_told(self):
        self.refused("svhn", "train_32x32.mat", mat5(weights=((2, 2), b"abcd")), "no variable X")
        self.refused("svhn", "train_32x32.mat", mat5(X=((28, 28, 1, 2), bytes(28 * 28 * 2)), y=((2, 1), b"\1\2")), "type or shape")

    def test_labels_out_of_range_are_told_with_their_sample(self):
        self.refused("cifar10", "data_batch_1.bin", records(1, 5) + records(1, 3, label=10), "record 5", "label 10", "0 to 9")
        self.refused("cifar100", "train.bin", records(2, 8, label=100), "label 100", "0 to 99")
        self.refused("stl10", "test_y.bin", b"\1\2\0\3", "label 2 is 0", "1 to 10")
        self.refused("svhn", "test_32x32.mat", svhn(4, b"\1\2\3\x0b"), "label 3 is 11")

    def test_a_missing_folder_or_file_is_named(self):
        scenario = self.scenario("cifar10")
        (self.folder / "data").rename(self.folder / "elsewhere")
        self.assertIn("data/data_batch_1.bin: cannot be read", self.fails(2, "run", scenario))
        (self.folder / "elsewhere").rename(self.folder / "data")
        (self.folder / "data/test_batch.bin").unlink()
        self.assertIn("data/test_batch.bin: cannot be read", self.fails(2, "run", scenario))
        for batch in (3, 5):
            (self.folder / f"data/data_batch_{batch}.bin").unlink()
        self.assertIn("data: data_batch_3.bin, data_batch_5.bin missing; expected data_batch_1.bin to data_batch_5.bin", self.fails(2, "run", scenario))


if __name__ == "__main__":
    main()
