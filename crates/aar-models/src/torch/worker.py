"""The Python half of the `torch` engine: a decoder of transformers, trained with peft, asked over two pipes.

Standard input brings requests, standard output takes answers: one answer to each request, until the input ends. A frame is
`aar1`, the header's length (u32), the payload's length (u64), the header in JSON, the payload; all numbers little-endian.
The header's `arrays` counts the numbers of each array of the payload: u32 in requests, but f32 of adapters and gradients;
f32 in answers. Losses, sampling and texts are not here: `aar` has them.
"""

import contextlib
import hashlib
import json
import os
import struct
import sys

# What a library prints must not come between answers.
ASKS, ANSWERS = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

try:
    import peft
    import torch
    import transformers
    from safetensors import safe_open
    from safetensors.torch import save_file
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = None

WIRE = 1
MAGIC = b"aar1"
MOST_HEADER = 1 << 26
MOST_PAYLOAD = 1 << 34
SAMPLE = 4096  # numbers of each weight that the fingerprint looks at


def no_gradients(method):
    return method if MISSING else torch.no_grad()(method)


class Worker:
    """One decoder on one device."""

    def open(self, ask, _):
        cuda = torch.cuda.is_available()
        self.device = torch.device(ask["device"] or ("cuda" if cuda else "cpu"))
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        # No program of the directory's own is run, and nothing is fetched.
        here = dict(local_files_only=True, trust_remote_code=False)
        config = transformers.AutoConfig.from_pretrained(ask["path"], **here)
        config.attention_dropout = 0.0
        self.model, told = transformers.AutoModelForCausalLM.from_pretrained(
            ask["path"], config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **here
        )
        if told["missing_keys"]:
            raise ValueError(f"tensors are missing: {sorted(told['missing_keys'])[:3]}")
        self.model.to(self.device).eval().requires_grad_(False)
        self.adapted = self.graph = self.past = None
        self.weights = []
        versions = {lib.__name__: lib.__version__ for lib in (torch, transformers, peft)}
        parameters = sum(p.numel() for p in self.model.parameters())
        return dict(wire=WIRE, device=str(self.device), versions=versions, parameters=parameters), []

    # ---- Adapters

    def attach(self, ask, arrays):
        """New adapters with these numbers: A and B of each map, in the order of `maps`."""
        self.detach()
        form = peft.LoraConfig(r=ask["r"], lora_alpha=ask["lora_alpha"], use_rslora=ask["use_rslora"],
                               target_modules=ask["target_modules"], lora_dropout=0.0)
        self.adapted = peft.get_peft_model(self.model, form)
        parts = iter(arrays)
        with torch.no_grad():
            for name in ask["maps"]:
                module = self.model.get_submodule(name)
                for part in (module.lora_A, module.lora_B):
                    weight = part["default"].weight
                    weight.copy_(numbers(next(parts)).view(weight.shape))
        self.model.requires_grad_(False)
        return {}, []

    def detach(self):
        if self.adapted is not None:
            self.model = self.adapted.unload()
            self.adapted = None

    def merge(self, _, __):
        if self.adapted is not None:
            self.model = self.adapted.merge_and_unload()
            self.adapted = None
        return {}, []

    # ---- Forward and backward

    def said(self, arrays):
        """States through the last norm at the places, and their logits."""
        lengths, tokens, counts, places = map(integers, arrays)
        rows = tokens.split(lengths.tolist())
        # No mask: attention looks back only, and what is padded lies behind.
        rows = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
        states = self.model.model(input_ids=rows, use_cache=False).last_hidden_state
        row = torch.arange(len(lengths)).repeat_interleave(counts)
        hidden = states[row.to(self.device), places.to(self.device)]
        return self.model.lm_head(hidden), hidden

    def read(self, ask, arrays):
        plain = ask["base"] and self.adapted is not None
        with torch.no_grad(), self.adapted.disable_adapter() if plain else contextlib.nullcontext():
            return {}, self.said(arrays)

    def begin(self, ask, _):
        self.plan, trained = ask, ask["trained"]
        layers = len(self.model.model.layers)
        last = trained["last_blocks"] if isinstance(trained, dict) else 0
        blocks = tuple(f"model.layers.{i}." for i in range(layers - last, layers))
        self.end({}, [])
        for name, parameter in self.model.named_parameters():
            if trained == "everything" or name.startswith(blocks) or (trained == "adapters" and ".lora_" in name):
                self.weights.append(Weight(name, parameter))
        if ask["recompute"]:
            self.model.activation_checkpointing_enable({"use_reentrant": False})
        return {}, []

    def end(self, _, __):
        for weight in self.weights:
            weight.freeze()
        self.weights, self.graph = [], None
        self.model.activation_checkpointing_disable()
        return {}, []

    def forward(self, ask, arrays):
        if ask["first"]:
            self.clear()
        # Blocks are run again only in a model that trains; without dropout nothing else differs.
        self.model.train(self.plan["recompute"])
        try:
            self.graph = self.said(arrays)
        finally:
            self.model.eval()
        return {}, [part.detach() for part in self.graph]

    def backward(self, _, arrays):
        graph, self.graph = self.graph, None
        gradients = [numbers(a).view(part.shape).to(part) for a, part in zip(arrays, graph, strict=True)]
        self.model.train(self.plan["recompute"])
        try:
            torch.autograd.backward(graph, gradients)
        finally:
            self.model.eval()
        return {}, []

    def clear(self):
        self.graph = None
        for weight in self.weights:
            weight.gradient.zero_()

    @property
    def adamw(self):
        return self.plan["optimiser"]

    def step(self, ask, _):
        """AdamW as torch.optim has it, on clipped gradients; none if the norm is not finite."""
        squares = [torch.linalg.vector_norm(w.gradient, dtype=torch.float64) ** 2 for w in self.weights]
        norm = torch.stack(squares).sum().sqrt().item()
        if norm != norm or norm == float("inf"):
            return dict(norm=None), []
        clip = self.plan["clip"]
        clip = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
        for weight in self.weights:
            weight.step(self.adamw, ask["rate"], ask["number"], clip)
        return dict(norm=norm), []

    # ---- Files

    def fingerprint(self, _, __):
        digest = hashlib.sha256()
        for name, p in self.model.named_parameters():
            stride = max(1, -(-p.numel() // SAMPLE))
            digest.update(name.encode() + p.detach().flatten()[::stride].float().cpu().numpy().tobytes())
        return dict(sha256=digest.hexdigest()), []

    def save(self, ask, _):
        parts = {f"{kind}.{weight.name}": part.cpu().contiguous()
                 for weight in self.weights for kind, part in weight.parts()}
        save_file(parts, ask["part"], metadata={"aar": ask["note"]})
        with open(ask["part"], "rb") as file:  # the name must not lead to bytes that are not on the disk yet
            os.fsync(file.fileno())
        os.replace(ask["part"], ask["path"])
        return {}, []

    def load(self, ask, _):
        with safe_open(ask["path"], "pt") as file:
            parts = [(weight, f"{kind}.{weight.name}", part) for weight in self.weights for kind, part in weight.parts()]
            known = set(file.keys())
            for _, name, part in parts:  # all of them, before anything is changed
                if name not in known or file.get_slice(name).get_shape() != list(part.shape):
                    raise ValueError(f"{ask['path']}: tensor `{name}` is missing or not of shape {list(part.shape)}")
            for weight, name, part in parts:
                part.copy_(file.get_tensor(name))
                weight.write()
        return {}, []

    # ---- Generation

    @no_gradients
    def prompt(self, _, arrays):
        """Sends prompts through the decoder; the logits after each."""
        lengths, tokens = map(integers, arrays)
        width = int(lengths.max())
        rows = torch.zeros(len(lengths), width, dtype=torch.long)
        mask = torch.zeros_like(rows)
        for row, part in enumerate(tokens.split(lengths.tolist())):
            rows[row, width - len(part):] = part
            mask[row, width - len(part):] = 1
        cache = transformers.DynamicCache(config=self.model.config)
        self.past = cache, mask.to(self.device), lengths.to(self.device)
        return self.next(rows.to(self.device), (self.past[1].cumsum(1) - 1).clamp(min=0))

    @no_gradients
    def follow(self, _, arrays):
        """One more token of each sequence; `rows` says which row of the last request each of them goes on from."""
        rows, tokens = (integers(a).to(self.device) for a in arrays)
        cache, mask, lengths = self.past
        if len(rows) != len(lengths) or (rows != torch.arange(len(lengths), device=self.device)).any():
            cache.batch_select_indices(rows)
            mask, lengths = mask[rows], lengths[rows]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        self.past = cache, mask, lengths + 1
        return self.next(tokens[:, None], lengths[:, None])

    def next(self, tokens, positions):
        cache, mask, _ = self.past
        out = self.model.model(input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache,
                               use_cache=True)
        return {}, [self.model.lm_head(out.last_hidden_state[:, -1])]

    def forget(self, _, __):
        self.past = None
        return {}, []


class Weight:
    """A trained weight in f32, whatever the model's own type is, with its gradient and moments."""

    def __init__(self, name, parameter):
        self.name = name.replace(".default", "")
        self.parameter = parameter.requires_grad_(True)
        self.weight = parameter.detach().float()  # the parameter itself where that is f32
        self.gradient, self.first, self.second = (torch.zeros_like(self.weight) for _ in range(3))
        self.hook = parameter.register_post_accumulate_grad_hook(self.take)

    def take(self, parameter):
        self.gradient += parameter.grad.float()
        parameter.grad = None

    def step(self, adamw, rate, number, clip):
        beta1, beta2 = adamw["beta1"], adamw["beta2"]
        gradient = self.gradient.mul_(clip)
        self.weight.mul_(1 - rate * adamw["decay"])
        self.first.lerp_(gradient, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = self.second.sqrt().div_((1 - beta2**number) ** 0.5).add_(adamw["eps"])
        self.weight.addcdiv_(self.first, root, value=-rate / (1 - beta1**number))
        self.write()

    def write(self):
        if self.parameter.dtype != torch.float32:
            self.parameter.detach().copy_(self.weight)

    def parts(self):
        return ("weight", self.weight), ("first", self.first), ("second", self.second)

    def freeze(self):
        self.hook.remove()
        self.parameter.requires_grad_(False)


OPERATIONS = ("open", "attach", "merge", "read", "begin", "end", "forward", "backward", "step", "fingerprint", "save",
              "load", "prompt", "follow", "forget")


def integers(array):
    return torch.frombuffer(array, dtype=torch.int32).long() if array else torch.zeros(0, dtype=torch.long)


def numbers(array):
    return torch.frombuffer(array, dtype=torch.float32) if array else torch.zeros(0)


def receive(pipe):
    """The next request with its arrays; none at the end."""
    start = pipe.read(16)
    if not start:
        return None
    magic, header, payload = struct.unpack("<4sIQ", start)
    if magic != MAGIC or header > MOST_HEADER or payload > MOST_PAYLOAD:
        raise ValueError("a frame that is none")
    ask = json.loads(pipe.read(header))
    counts = ask["arrays"]
    if 4 * sum(counts) != payload:
        raise ValueError("a payload of another size than its header says")
    arrays = []
    for count in counts:
        array = bytearray(4 * count)
        if pipe.readinto(array) != len(array):
            return None
        arrays.append(array)
    return ask, arrays


def send(pipe, answer, arrays=()):
    arrays = [a.detach().float().cpu().contiguous() for a in arrays]
    answer["arrays"] = [a.numel() for a in arrays]
    header = json.dumps(answer, allow_nan=False).encode()
    pipe.write(struct.pack("<4sIQ", MAGIC, len(header), 4 * sum(answer["arrays"])) + header)
    for array in arrays:
        pipe.write(array.numpy().tobytes())
    pipe.flush()


def fault(error):
    """An exception as an answer."""
    text = f"{type(error).__name__}: {error}"[-4000:]
    full = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text
    return dict(error=dict(kind="memory" if full else "failed", what=text))


def serve(asks, answers):
    worker = Worker()
    while request := receive(asks):
        ask, arrays = request
        if MISSING:
            return send(answers, dict(error=dict(kind="missing", what=MISSING)))
        if ask["op"] not in OPERATIONS:
            raise ValueError(f"unknown request {ask['op']}")
        try:
            told, said = getattr(worker, ask["op"])(ask, arrays)
            send(answers, dict(ok=told), said)
        except Exception as error:
            told = fault(error)
            error.__traceback__ = None  # it holds tensors
            worker.graph = worker.past = said = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            send(answers, told)


if __name__ == "__main__":
    serve(ASKS, ANSWERS)
