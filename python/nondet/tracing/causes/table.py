"""The table of causes: all that is known of each, and where to look for it.

Between causes that fit equally well, the order here decides: the more special come first.
"""

from nondet.tracing.causes import data, gpu, modes, order, races, resuming, seeds, settings
from nondet.tracing.causes.cause import Cause

CAUSES = (
    # -- tensors that something else writes ----------------------------------------------------
    Cause(
        "buffer-written",
        "A tensor was written while it was in use",
        "a tensor has other bits than when the record before used it, and no operation wrote it",
        "Give the training loop a copy (`batch = buffer.clone()`) and let the writer wait until it "
        "is taken, with a lock or a queue.",
        races.written_meanwhile,
    ),
    Cause(
        "uninitialized-memory",
        "Memory was read before anything wrote it",
        "an operation reads what `torch.empty` or a relative made, and nothing has written to it",
        "Use `torch.zeros` in place of `torch.empty`, or write every element first; with "
        "`torch.use_deterministic_algorithms(True)`, torch fills new memory with NaN, which shows.",
        modes.uninitialized_memory,
    ),
    Cause(
        "shared-between-threads",
        "Threads change one tensor without a lock",
        "a thread reads a tensor that another thread writes in place, and finds other bits",
        "Hold a `threading.Lock` around reading and writing the tensor, or let one thread apply "
        "all updates in a fixed order.",
        races.shared_between_threads,
    ),
    # -- racing operations ---------------------------------------------------------------------
    Cause(
        "index-backward-race",
        "Race in the backward of indexing",
        "`index_put` with `accumulate=True` in the backward phase, on a CPU with several threads, "
        "with indices that repeat, reads equal bits and writes different ones",
        "Write `torch.index_select(w, 0, idx)` or `torch.nn.functional.embedding(idx, w)` for "
        "`w[idx]`, or call `torch.use_deterministic_algorithms(True)`.",
        races.race_of_index_backward,
    ),
    Cause(
        "index-put-race",
        "Race in an accumulating index_put",
        "as index-backward-race, in the forward phase",
        "Use `index_add_` or `scatter_add_`, which add in a fixed order on a CPU, or call "
        "`torch.use_deterministic_algorithms(True)`.",
        races.race_of_index_put,
    ),
    Cause(
        "put-race",
        "Race in an accumulating put",
        "as index-put-race, for `put_`",
        "Use `x.view(-1).index_add_(0, index, values)`, which adds in a fixed order on a CPU, or "
        "call `torch.use_deterministic_algorithms(True)`.",
        races.race_of_put,
    ),
    Cause(
        "repeated-assignment",
        "Assignment to repeated indices",
        "`index_put`, `index_copy` or `put` without accumulating, with several threads and indices "
        "that repeat, reads equal bits and writes different ones",
        "Assign to each element once (drop earlier duplicates of the index, or reduce them with "
        "`scatter_reduce_`), or call `torch.use_deterministic_algorithms(True)`.",
        races.repeated_assignment,
    ),
    Cause(
        "unstable-operation",
        "An operation whose result depends on timing",
        "the recorder ran the operation again on its own inputs and got other bits",
        "Call `torch.use_deterministic_algorithms(True)`, which replaces it or says that it "
        "cannot; on a CPU, `torch.set_num_threads(1)` removes races between threads.",
        races.unstable_operation,
    ),
    # -- generators ----------------------------------------------------------------------------
    Cause(
        "no-seed",
        "No seed is set",
        "the first draws find generators with other initial seeds, and no seed is set",
        "Call `torch.manual_seed(0)` at the top of the script, before the model and the data are "
        "made.",
        seeds.no_seed,
    ),
    Cause(
        "seed-too-late",
        "The seed is set too late",
        "as no-seed, but a seed is set after these draws",
        "Move `torch.manual_seed(...)` to the top of the script, before the model is made.",
        seeds.seed_too_late,
    ),
    Cause(
        "seed-from-clock",
        "The seed comes from the clock or from chance",
        "another seed is set in each run of one command",
        "Set a fixed seed, or print the seed and take it as an argument "
        "(`parser.add_argument('--seed', type=int, default=0)`).",
        seeds.seed_from_clock,
    ),
    Cause(
        "other-seed",
        "The commands set different seeds",
        "another seed is set, and the arguments of the commands differ",
        "Give both runs the same seed.",
        seeds.other_seed,
    ),
    Cause(
        "resume-generator",
        "Resumed without the state of the generator",
        "one run sets a seed or draws parameters again in a later step, or continues the other's "
        "weights, and its draws then find another state",
        "Save `torch.get_rng_state()` in the checkpoint (and `random.getstate()`, "
        "`numpy.random.get_state()`, `torch.cuda.get_rng_state_all()` where used), and set them "
        "last when resuming.",
        resuming.without_generator,
    ),
    Cause(
        "resume-optimizer",
        "Resumed without the state of the optimizer",
        "the optimizer makes its state in a later step of one run only",
        "Save `optimizer.state_dict()` in the checkpoint and call `optimizer.load_state_dict(...)` "
        "when resuming; the same for the scheduler and the gradient scaler.",
        resuming.without_optimizer,
    ),
    Cause(
        "numpy-unseeded",
        "NumPy's generator is not seeded",
        "the states of `numpy.random` differ at the end of the step, nothing seeded it, and a "
        "tensor from outside torch differs",
        "Call `numpy.random.seed(0)` at the top of the script, or draw from "
        "`numpy.random.default_rng(0)`.",
        seeds.numpy_unseeded,
    ),
    Cause(
        "python-unseeded",
        "Python's generator is not seeded",
        "as numpy-unseeded, for `random`; often a batch holds the same examples in another order",
        "Call `random.seed(0)` at the top of the script, or draw from `random.Random(0)`.",
        seeds.python_unseeded,
    ),
    Cause(
        "hidden-draw",
        "Another iterator of a DataLoader draws a seed",
        "only one run draws the base seed of a DataLoader's workers, and later draws find another "
        "state",
        "Give every loader a generator of its own: "
        "`DataLoader(..., generator=torch.Generator().manual_seed(0))`.",
        seeds.hidden_draw,
    ),
    Cause(
        "extra-draw",
        "One run draws more random numbers",
        "only one run makes a draw, and later draws of that generator find another state",
        "Draw what only one run needs from a generator of its own "
        "(`generator=torch.Generator().manual_seed(1)`), or inside `torch.random.fork_rng()`.",
        seeds.extra_draw,
    ),
    # -- modes ---------------------------------------------------------------------------------
    Cause(
        "train-eval",
        "Training mode in one run, evaluation mode in the other",
        "the mode of the module differs where the runs part",
        "Call `model.train()` before training and `model.eval()` before evaluating, every time.",
        modes.train_or_eval,
    ),
    Cause(
        "autocast",
        "Autocast in one run only",
        "autocast is on in one run, or to another dtype, where the runs part",
        "Give `torch.autocast(device, dtype=..., enabled=...)` the same arguments in both runs.",
        modes.autocast,
    ),
    Cause(
        "other-dtype",
        "A tensor has another dtype",
        "the dtype of a tensor differs, without autocast",
        "Convert both with the same `.to(dtype)`, and look for a call of `half`, `bfloat16` or "
        "`torch.set_default_dtype` in one run.",
        modes.another_dtype,
    ),
    Cause(
        "fused-optimizer",
        "The optimizer is fused in one run only",
        "only one run calls `_fused_adam_` or a relative",
        "Pass `fused=` explicitly to the optimizer, the same in both runs.",
        modes.fused_optimizer,
    ),
    # -- order and data ------------------------------------------------------------------------
    Cause(
        "worker-count",
        "Another number of workers of a DataLoader",
        "the loaders of the batches have other numbers of workers",
        "Use the same `num_workers` in both runs, or draw in the data set from "
        "`torch.Generator().manual_seed(index)`, so that an example does not depend on its worker.",
        data.worker_count,
    ),
    Cause(
        "batch-order",
        "Batches in the order in which workers finish",
        "both runs had the same batches from several workers, in another order",
        "Leave `in_order=True`, the default of `DataLoader`.",
        order.order_of_batches,
    ),
    Cause(
        "completion-order",
        "Results in the order of completion",
        "both runs use the same results of other threads or processes, in another order",
        "Use `executor.map` or `Pool.map` for `as_completed` or `imap_unordered`, or sort the "
        "results by index before using them.",
        order.order_of_completion,
    ),
    Cause(
        "parameter-set",
        "Parameters in the order of a set",
        "a record takes another parameter in each run, and both runs have the same parameters",
        "Keep parameters in a list, or in `dict.fromkeys(parameters)`; a set of tensors has the "
        "order of their addresses, a set of names that of the hash seed.",
        order.parameter_set,
    ),
    Cause(
        "directory-order",
        "Files or examples in another order",
        "both runs get the same data from outside torch, in another order; no generator differs",
        "Sort what lists the examples: `sorted(os.listdir(folder))`, `sorted(folder.glob(...))`, "
        "`sorted(set_of_names)`.",
        order.directory_order,
    ),
    Cause(
        "hash-seed",
        "Python's hash seed",
        "only integers from outside torch differ, no generator does, and `PYTHONHASHSEED` is not "
        "set or differs",
        "Sort before numbering (`enumerate(sorted(set(words)))`) and use `zlib.crc32` for `hash`; "
        "to test, run both with `PYTHONHASHSEED=0`.",
        order.hash_seed,
    ),
    Cause(
        "gradient-accumulation",
        "Gradients accumulated over another number of parts",
        "a step has another number of backward passes, over batches of another size",
        "Use the same number of parts in both runs: a mean of means of parts is rounded otherwise, "
        "and batch norm sees other batches.",
        data.accumulation,
    ),
    Cause(
        "batch-size",
        "Batches of another size",
        "tensors differ in dimension 0 alone, with equal numbers of backward passes",
        "Compute with the same batch size in both runs: kernels choose the order of sums by shape, "
        "so that an example's result depends on the size of its batch.",
        data.batch_size,
    ),
    # -- settings ------------------------------------------------------------------------------
    Cause(
        "denormals",
        "Subnormal numbers are flushed in one run only",
        "`torch.set_flush_denormal` differs where the runs part",
        "Call `torch.set_flush_denormal(False)` (or True) in both runs, in every thread that "
        "computes, and scale up values near 1e-38.",
        settings.denormals,
    ),
    Cause(
        "thread-count",
        "Another number of threads",
        "the numbers of threads differ, and an operation on a CPU wrote different bits",
        "Set `OMP_NUM_THREADS` (or call `torch.set_num_threads`) to the same number in both runs.",
        settings.thread_count,
    ),
    Cause(
        "onednn",
        "oneDNN in one run only",
        "settings of oneDNN differ, and a product or a convolution wrote different bits",
        "Set `torch.backends.mkldnn.enabled` and the variables of oneDNN alike in both runs.",
        settings.onednn,
    ),
    Cause(
        "matmul-precision",
        "Another precision of matrix products",
        "`float32_matmul_precision` differs, and a product wrote different bits",
        "Call `torch.set_float32_matmul_precision('highest')` in both runs.",
        settings.matmul_precision,
    ),
    Cause(
        "cpu-capability",
        "Other instructions of the processor",
        "the CPU capability differs, and an operation on a CPU wrote different bits",
        "Compare runs of one kind of processor, or limit both with `ATEN_CPU_CAPABILITY=avx2` and "
        "`MKL_ENABLE_INSTRUCTIONS=AVX2`.",
        settings.cpu_capability,
    ),
    # -- GPUs ----------------------------------------------------------------------------------
    Cause(
        "gpu-model",
        "Another GPU",
        "the names of the GPUs differ, and an operation on one wrote different bits",
        "Compare runs on one model of GPU: libraries choose kernels by it.",
        gpu.another_gpu,
    ),
    Cause(
        "tf32",
        "TF32 in one run only",
        "settings of TF32 differ, and a product on a GPU wrote different bits",
        "Set `torch.backends.cuda.matmul.allow_tf32`, `torch.backends.cudnn.allow_tf32` and "
        "`NVIDIA_TF32_OVERRIDE` alike in both runs.",
        gpu.tf32,
    ),
    Cause(
        "cudnn-choice",
        "cuDNN chose another kernel",
        "a convolution on a GPU wrote different bits; `cudnn.benchmark` is on, settings of cuDNN "
        "differ, or `cudnn.deterministic` is off in the backward phase",
        "Set `torch.backends.cudnn.benchmark = False` and `torch.backends.cudnn.deterministic = "
        "True`.",
        gpu.cudnn_choice,
    ),
    Cause(
        "attention-backward",
        "Atomics in the backward of attention",
        "the backward of a fused attention kernel on a GPU wrote different bits",
        "Call `torch.use_deterministic_algorithms(True)`, or compute attention with "
        "`torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.",
        gpu.attention_backward,
    ),
    Cause(
        "gpu-atomics",
        "Atomic additions on a GPU",
        "an operation that adds with atomics on a GPU read equal bits and wrote different ones",
        "Call `torch.use_deterministic_algorithms(True)`; it takes another kernel, or names the "
        "operation to replace.",
        gpu.float_atomics,
    ),
    Cause(
        "unsynchronized-copy",
        "A copy from the GPU was not waited for",
        "a copy to the CPU with `non_blocking=True` gave different bits",
        "Copy without `non_blocking=True`, or call `torch.cuda.synchronize()` before reading.",
        gpu.unsynchronized_copy,
    ),
    Cause(
        "collective-order",
        "Ranks are added in another order",
        "a reduction over ranks on GPUs wrote different bits, and what other ranks gave is equal",
        "Set `NCCL_ALGO=Ring` and `NCCL_PROTO=Simple`, and place the ranks alike.",
        gpu.collective,
    ),
    Cause(
        "compiled-kernel",
        "Compiled kernels were chosen by time",
        "a compiled graph on a GPU read equal bits and wrote different ones",
        "Call `torch.use_deterministic_algorithms(True)`, which ends the timing; trace with "
        "`--eager` to see which operation it is.",
        gpu.compiled_kernel,
    ),
    Cause(
        "cublas-workspace",
        "cuBLAS chose another kernel",
        "a product on a GPU wrote different bits; `CUBLAS_WORKSPACE_CONFIG` differs or is not set",
        "Set `CUBLAS_WORKSPACE_CONFIG=:4096:8` in the environment of both runs.",
        gpu.cublas_workspace,
    ),
    # -- what is left --------------------------------------------------------------------------
    Cause(
        "other-version",
        "Other versions of libraries",
        "versions of libraries that decide bits differ, and nothing more special fits",
        "Install the same versions, with `pip freeze` here and `pip install -r` there.",
        settings.versions,
    ),
    Cause(
        "memory-layout",
        "A tensor in another layout",
        "a tensor is contiguous in one run only, and an operation wrote different bits",
        "Bring it into one layout before the operation, with `.contiguous()` or "
        "`.to(memory_format=...)`.",
        modes.memory_layout,
    ),
    Cause(
        "alignment",
        "A tensor at an address of another alignment",
        "addresses of a read tensor are multiples of different powers of two, and the environments "
        "agree",
        "Copy the tensor first (`x.clone()`): new memory is always aligned to 64 bytes.",
        modes.alignment,
    ),
    Cause(
        "resumed-run",
        "One run continues the other",
        "one run begins with the weights that the other had after a step",
        "Compare with a run that begins at the same step, such as another resumed one.",
        resuming.another_start,
    ),
    Cause(
        "other-order",
        "The same work in another order",
        "both runs do the same from the first difference on, in another order",
        "Look at this line for a set, a dictionary filled in another order, a listing of files, or "
        "results used as they come.",
        order.another_order,
    ),
    Cause(
        "environment",
        "The environments differ",
        "something else of the environment that decides bits differs, and an operation wrote "
        "different bits",
        "Make the environments alike, one difference at a time.",
        settings.environment,
    ),
    Cause(
        "unseen-write",
        "Perhaps a write that torch does not see",
        "an operation on a CPU without a known race wrote different bits, and its inputs were not "
        "hashed",
        "Record both runs again with `nondet trace --verify-inputs`, which hashes every input.",
        races.perhaps_written_meanwhile,
    ),
    Cause(
        "outside-data",
        "Data from outside torch differs",
        "a tensor that no record computed differs, no generator does, and no order explains it",
        "Look at where this tensor comes from: `numpy.random.default_rng()` without a seed, a file "
        "that changed, the time, or a library without a trace.",
        data.data_from_outside,
    ),
)
