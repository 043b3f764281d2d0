"""Batches of CT volumes and texts from a dataset that `med2e3-data prepare` wrote, as tensors in the feed's own memory."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, final, type_check_only

__version__: str

class FeedError(Exception):
    """What a feed can't do or be: it names the file, the row or the argument, what was expected and what was found."""

@type_check_only
class Grouped(TypedDict):
    """Texts of one volume together, in groups of so many, which divide the batch."""

    group_by_volume: int

@type_check_only
class Buckets(TypedDict):
    """So many permuted texts are sorted by length and cut into units, which divide the batch."""

    window: int
    unit: int

@type_check_only
class Bucketed(TypedDict):
    """Texts of like length together."""

    length_buckets: Buckets

@type_check_only
class Mix(TypedDict):
    """Tasks in stated shares: a weight of each task that is fed; `then`, a list of the same with `from`, changes them on the way."""

    mix: Mapping[str, Any]

@type_check_only
class Share(TypedDict):
    """What a batch is of its step: of all ranks together."""

    micro_batch: int
    """Always 0: a step is one batch a rank."""
    micro_batches: int
    """Always 1."""
    targets: int
    """Labels of the step, of all ranks, that are not -100; without that of a text's first id, which nothing predicts."""
    targetless_groups: list[int]
    """[0] where the step has no target, else empty."""

@type_check_only
class Bad(TypedDict):
    """A sample that a batch goes without (`on_bad_sample="skip"`)."""

    sample: str
    volume: str
    shard: str
    """The volume's shard."""
    row: int
    """The volume's row there."""
    reason: str

@type_check_only
class Batch(TypedDict):
    """A batch, B texts that show V different volumes; both may be 0. Tensors are torch's, numpy's or `Tensor`.

    It is a plain dict; the name is there for type checkers alone.
    """

    voxels: Any
    """(V, D, H, W), uint8, int16 or float32 as they are stored: value = voxel * scale + offset."""
    ids: Any
    """(B, T) int64, padded with 0; -201 marks a volume."""
    labels: Any
    """(B, T) int64: the id where it is to be learned, else -100."""
    lengths: Any
    """(B,) int64: ids of each text."""
    volume_of: Any
    """(B, most volumes a text) int64: for each mark of a text, in order, its volume's place in `voxels`; padded with -1."""
    questions: Any
    """(B, Q) int64: the question's ids for the slice scorer, padded with 0."""
    question_lengths: Any
    """(B,) int64."""
    weights: Any
    """(B,) float32: what each label of a text counts in the step's loss: 1 / share["targets"]."""
    sample_ids: list[str]
    """B ids, 32 hex digits each."""
    volume_ids: list[str]
    """V ids."""
    scale: float
    offset: float
    position: int
    """Samples since the run began, of all ranks, up to this batch's end."""
    share: Share
    bad: list[Bad]

@final
class Tensor:
    """An array of a batch in the feed's own memory. `torch.from_dlpack` and `numpy.from_dlpack` make a tensor of it without a copy.

    The batch's memory goes back to the feed when all arrays of the batch, and all tensors made of them, are gone.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Literal["uint8", "int16", "int64", "float32"]: ...
    def __dlpack__(
        self,
        *,
        stream: None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """The array as a DLPack capsule: of version 1.0 where `max_version` is 1.0 or later, of the form before it otherwise.

        Raises BufferError for a copy, or for another device than the CPU.
        """

    def __dlpack_device__(self) -> tuple[int, int]: ...

@final
class Epoch:
    """The batches up to the end of an epoch."""

    def __iter__(self) -> Epoch: ...
    def __next__(self) -> Batch: ...

@final
class Feed(Iterator[Batch]):
    """A run over the samples of a dataset, batch after batch, each a dict of tensors in the feed's own memory.

    It is its own iterator and goes on where it stood: a loop that was left is taken up by the next one. Behind its end, that of
    `epochs` passes over the selection, another loop raises FeedError; after `load_state_dict` of that end it is empty.

    path: folder that `med2e3-data prepare` wrote.
    batch_size: samples a step, of all ranks together; at least one a rank, up to 16,777,216.
    split, tasks, subset: which samples; all tasks and no subset where not stated.
    form: "conversation", "pretrain" (the volume and its caption alone) or "prompt" (without the answer).
    question: whose tokens `questions` are, "llm" or "bert".
    order: "shuffled", "by_id", {"group_by_volume": TEXTS}, {"length_buckets": {"window": TEXTS, "unit": TEXTS}} or
        {"mix": {TASK: WEIGHT}}, as `data.order` in configurations of the trainer; with `seed`.
    tail: what becomes of an epoch's last samples: "keep" (a shorter batch), "drop", or "straddle" (the next epoch fills it).
    rank, world_size: both or none; where not stated, RANK and WORLD_SIZE of the environment, as torchrun sets them, else 0 and 1.
    readers: threads that read, 1 to 1,024. depth: batches that are made ahead, 1 to 1,024; two more may be held.
    on_bad_sample: what becomes of a sample whose volume does not read: "fail", or "skip" (the batch says so in `bad`).
    tensors: "torch", "numpy" or "dlpack" (`Tensor`).

    Raises FeedError for what does not fit, ImportError where the package of `tensors` is not there.
    """

    def __new__(
        cls,
        path: str | os.PathLike[str],
        *,
        batch_size: int,
        split: str = "train",
        tasks: Sequence[str] | None = None,
        subset: str | None = None,
        form: Literal["conversation", "pretrain", "prompt"] = "conversation",
        question: Literal["llm", "bert"] = "llm",
        order: Literal["shuffled", "by_id"] | Grouped | Bucketed | Mix = "shuffled",
        seed: int = 0,
        epochs: int = 1,
        tail: Literal["keep", "drop", "straddle"] = "keep",
        rank: int | None = None,
        world_size: int | None = None,
        readers: int = 2,
        depth: int = 2,
        on_bad_sample: Literal["fail", "skip"] = "fail",
        tensors: Literal["torch", "numpy", "dlpack"] = "torch",
    ) -> Feed: ...
    @property
    def samples(self) -> int:
        """Samples of an epoch, of all ranks."""

    @property
    def without_volume(self) -> int:
        """Samples that were left out because a volume of theirs is not in the dataset."""

    @property
    def position(self) -> int:
        """Samples since the run began, of all ranks, up to the end of the last batch that was yielded."""

    @property
    def rank(self) -> int:
        """The rank that is fed, from 0."""

    @property
    def world_size(self) -> int:
        """Ranks that share each batch."""

    def __iter__(self) -> Feed:
        """The feed itself, at the batch behind the last one that was yielded.

        Raises FeedError where all was yielded.
        """

    def __next__(self) -> Batch:
        """The next batch; waits for it. Other threads run meanwhile, and Ctrl-C is heard.

        Raises FeedError for a batch that can't be had, and where all batches of the feed are held: they come back when their
        tensors are gone.
        """

    def __len__(self) -> int:
        """Batches of the whole run, whatever is loaded."""

    def epoch(self) -> Epoch:
        """The batches up to the end of the epoch at which the feed is, as an iterator.

        With `tail="straddle"` up to the first batch that ends in the next epoch or at its start. Raises FeedError where all was
        yielded.
        """

    def state_dict(self) -> dict[str, Any]:
        """The cursor behind the last batch that was yielded: a dict of plain values, at most 512 bytes as JSON."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on behind a cursor of `state_dict`. Batch size, ranks, readers and depth may be others than they were.

        Batches that are read ahead are dropped, and the feed gets new memory. Raises FeedError for a cursor of other samples, of
        another order, seed or tail, or behind the end; the feed then stays where it is.
        """

    def blocks(self) -> list[tuple[int, int]]:
        """Where the memory of all batches is: `[(address, bytes), ...]`, the same until `load_state_dict` or `close`.

        Every tensor of a batch begins at one of the addresses. To pin it for copies to a GPU:
        `torch.cuda.cudart().cudaHostRegister(address, bytes, 0)`.
        """

    def close(self) -> None:
        """Ends the feed's threads and waits for them. What is iterated afterwards starts them again, at the same place."""
