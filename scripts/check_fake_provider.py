"""Drives the fake provider with the official SDKs, so that it is known to speak as the real ones do.

Usage: python check_fake_provider.py PATH/TO/fake_provider

The SDKs are its judges: whatever they cannot read, or read as something else, fails. Nothing is installed here and
nothing is skipped; `.ci/fake_provider.sh` makes the environment.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import anthropic
import openai

KEY = "fake-key-0123456789"
MODEL = "fake-model"
TOOL_INPUTS = [{"command": "ls", "deep": {"x": [1, 2.5, None, "é🦀"]}}, {}]
TURN = {
    "say": [
        {"thinking": "First the files, перед тем."},
        {"text": 'I look at "two" things\nat once. 🦀'},
        {"tool": {"name": "bash", "input": TOOL_INPUTS[0]}},
        {"tool": {"name": "view", "input": TOOL_INPUTS[1]}},
    ]
}
TEXT = TURN["say"][1]["text"]
LONG = "the task in detail. " * 500
BINARY = sys.argv[1]


@contextmanager
def fake(**script):
    """A fake that plays `script`; gives its address."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"key": KEY, **script}, file)
        file.flush()
        process = subprocess.Popen(
            [BINARY, file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), url
            yield url
        finally:
            process.stdin.close()
            process.wait(timeout=20)
            process.stdout.close()


def claude(url, key=KEY, retries=0):
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=retries)


def gpt(url, key=KEY, retries=0):
    return openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=retries)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


ANTHROPIC_TOOLS = [
    {"name": name, "description": "A tool.", "input_schema": {"type": "object", "properties": {}}}
    for name in ("bash", "view")
]
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("bash", "view")
]


def ask_claude(client, messages=None, model=MODEL, **more):
    with client.messages.stream(
        model=model,
        max_tokens=1000,
        tools=ANTHROPIC_TOOLS,
        messages=messages or [{"role": "user", "content": "Begin."}],
        **more,
    ) as stream:
        text = "".join(stream.text_stream)
        return text, stream.get_final_message()


def anthropic_streams_text_thinking_and_parallel_tools():
    with fake(turns=[TURN, {"say": [{"text": "Done."}]}]) as url:
        client = claude(url)
        messages = [{"role": "user", "content": "Begin."}]
        text, message = ask_claude(client, messages, thinking={"type": "adaptive"})
        assert text == TEXT, text
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert message.content[0].thinking == TURN["say"][0]["thinking"]
        assert message.content[0].signature
        assert [block.input for block in message.content[2:]] == TOOL_INPUTS
        assert message.stop_reason == "tool_use"
        assert message.usage.output_tokens > 10 and message.usage.input_tokens > 10
        # The SDK's own replay satisfies the checks of the fake.
        messages.append({"role": "assistant", "content": message.content})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "ok"}
            for block in message.content[2:]
        ]
        unanswered = messages + [{"role": "user", "content": results[:1]}]
        error = raises(anthropic.BadRequestError, lambda: ask_claude(client, unanswered))
        assert "tool_use" in str(error), error
        messages.append({"role": "user", "content": results})
        text, message = ask_claude(client, messages, thinking={"type": "adaptive"})
        assert (text, message.stop_reason) == ("Done.", "end_turn")
        whole = client.messages.create(
            model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": "Begin."}]
        )
        assert [block.type for block in whole.content] == ["thinking", "text", "tool_use", "tool_use"]


def anthropic_counts_the_cache():
    with fake() as url:
        client = claude(url)
        system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
        _, first = ask_claude(client, system=system)
        _, second = ask_claude(client, system=system)
        assert first.usage.cache_creation_input_tokens > 2000, first.usage
        assert first.usage.cache_read_input_tokens == 0, first.usage
        assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens
        assert second.usage.cache_creation_input_tokens == 0, second.usage


def anthropic_errors_have_their_types():
    with fake(faults={"0": {"rate_limited": 0}, "1": "overloaded"}) as url:
        text, _ = ask_claude(claude(url, retries=3))
        assert text == "That is all."
    with fake(faults={"0": {"rate_limited": 3}, "1": "overloaded", "2": {"status": 500}}) as url:
        client = claude(url)
        error = raises(anthropic.RateLimitError, lambda: ask_claude(client))
        assert error.response.headers["retry-after"] == "3"
        assert error.request_id == "req_fake"
        error = raises(anthropic.APIStatusError, lambda: ask_claude(client))
        assert error.status_code == 529, error
        raises(anthropic.InternalServerError, lambda: ask_claude(client))
        raises(anthropic.AuthenticationError, lambda: ask_claude(claude(url, key="wrong-key-0123")))
        raises(anthropic.NotFoundError, lambda: ask_claude(client, model="no-such-model"))
    with fake(turns=[TURN], faults={"0": {"overloaded_after": 4}, "1": {"cut": 6}}) as url:
        client = claude(url)
        error = raises(anthropic.APIStatusError, lambda: ask_claude(client))
        assert "overloaded_error" in str(error), error
        raises(Exception, lambda: ask_claude(client))
    with fake(context_window=100) as url:
        long = [{"role": "user", "content": LONG}]
        error = raises(anthropic.BadRequestError, lambda: ask_claude(claude(url), long))
        assert "prompt is too long" in str(error), error
    with fake(turns=[{"say": [{"text": "No."}], "stop": "refusal"}]) as url:
        _, message = ask_claude(claude(url))
        assert message.stop_reason == "refusal"


def ask_gpt(client, messages=None, model=MODEL):
    """Puts a streamed reply together: text, calls by index, reason, usage."""
    stream = client.chat.completions.create(
        model=model,
        tools=OPENAI_TOOLS,
        messages=messages or [{"role": "user", "content": "Begin."}],
        stream=True,
        stream_options={"include_usage": True},
    )
    text, calls, reason, usage = "", {}, None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": None, "name": None, "arguments": ""})
                call["id"] = part.id or call["id"]
                call["name"] = part.function.name or call["name"]
                call["arguments"] += part.function.arguments or ""
    return text, [calls[at] for at in sorted(calls)], reason, usage


def openai_streams_text_and_parallel_tools():
    with fake(turns=[TURN, {"say": [{"text": "Done."}]}]) as url:
        client = gpt(url)
        messages = [{"role": "user", "content": "Begin."}]
        text, calls, reason, usage = ask_gpt(client, messages)
        assert (text, reason) == (TEXT, "tool_calls"), (text, reason)
        assert [call["name"] for call in calls] == ["bash", "view"]
        assert [json.loads(call["arguments"]) for call in calls] == TOOL_INPUTS
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        # The SDK's own accumulation agrees.
        with client.chat.completions.stream(
            model=MODEL, messages=messages, tools=OPENAI_TOOLS, stream_options={"include_usage": True}
        ) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        message = final.choices[0].message
        assert message.content == TEXT
        assert [json.loads(call.function.arguments) for call in message.tool_calls] == TOOL_INPUTS
        messages.append(
            {
                "role": "assistant",
                "content": text,
                "tool_calls": [
                    {
                        "id": call["id"],
                        "type": "function",
                        "function": {"name": call["name"], "arguments": call["arguments"]},
                    }
                    for call in calls
                ],
            }
        )
        raises(openai.BadRequestError, lambda: ask_gpt(client, messages + [{"role": "user", "content": "?"}]))
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls]
        text, calls, reason, _ = ask_gpt(client, messages)
        assert (text, calls, reason) == ("Done.", [], "stop")
        whole = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Begin."}]
        )
        assert whole.choices[0].message.content == TEXT
        assert len(whole.choices[0].message.tool_calls) == 2


def openai_counts_the_cache():
    with fake() as url:
        client = gpt(url)
        messages = [{"role": "system", "content": LONG}, {"role": "user", "content": "Begin."}]
        *_, first = ask_gpt(client, messages)
        *_, second = ask_gpt(client, messages)
        assert first.prompt_tokens_details.cached_tokens == 0
        assert second.prompt_tokens_details.cached_tokens > 2000
        assert first.prompt_tokens == second.prompt_tokens


def openai_errors_have_their_types():
    with fake(faults={"0": {"rate_limited": 0}, "1": {"status": 503}}) as url:
        text, *_ = ask_gpt(gpt(url, retries=3))
        assert text == "That is all."
    with fake(faults={"0": {"rate_limited": 3}, "1": {"status": 500}, "2": "context_overflow"}) as url:
        client = gpt(url)
        raises(openai.RateLimitError, lambda: ask_gpt(client))
        raises(openai.InternalServerError, lambda: ask_gpt(client))
        error = raises(openai.BadRequestError, lambda: ask_gpt(client))
        assert error.code == "context_length_exceeded", error
        error = raises(openai.AuthenticationError, lambda: ask_gpt(gpt(url, key="wrong-key-0123")))
        assert error.code == "invalid_api_key", error
        error = raises(openai.NotFoundError, lambda: ask_gpt(client, model="no-such-model"))
        assert error.code == "model_not_found", error
    with fake(turns=[TURN], faults={"0": {"overloaded_after": 4}, "1": {"cut": 6}}) as url:
        client = gpt(url)
        raises(openai.APIError, lambda: ask_gpt(client))
        raises(Exception, lambda: ask_gpt(client))


def responses_stream_text_and_tools():
    tools = [{"type": "function", "name": n, "parameters": {"type": "object"}} for n in ("bash", "view")]
    with fake(turns=[TURN, {"say": [{"text": "Done."}]}], least_cached=128) as url:
        client = gpt(url)
        asked = [{"role": "user", "content": LONG}]

        def ask(items, **more):
            with client.responses.stream(model=MODEL, input=items, tools=tools, store=False, **more) as stream:
                text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
                return text, stream.get_final_response()

        text, first = ask(asked)
        assert text == TEXT == first.output_text, text
        assert [item.type for item in first.output] == ["reasoning", "message", "function_call", "function_call"]
        calls = first.output[2:]
        assert [json.loads(call.arguments) for call in calls] == TOOL_INPUTS
        assert first.status == "completed" and first.usage.output_tokens > 10
        asked += [item.model_dump(exclude_none=True) for item in first.output]
        raises(openai.BadRequestError, lambda: ask(asked))
        asked += [
            {"type": "function_call_output", "call_id": call.call_id, "output": "ok"} for call in calls
        ]
        text, second = ask(asked)
        assert text == "Done." and second.usage.input_tokens_details.cached_tokens > 2000, second.usage
        whole = client.responses.create(model=MODEL, input="Begin.", max_output_tokens=4)
        assert whole.status == "incomplete" and whole.incomplete_details.reason == "max_output_tokens"
        error = raises(openai.NotFoundError, lambda: client.responses.create(model="none", input="x"))
        assert error.code == "model_not_found", error
    with fake(turns=[TURN], faults={"0": {"cut": 6}}) as url:
        raises(Exception, lambda: list(gpt(url).responses.create(model=MODEL, input="x", stream=True)))


CHECKS = [
    anthropic_streams_text_thinking_and_parallel_tools,
    anthropic_counts_the_cache,
    anthropic_errors_have_their_types,
    openai_streams_text_and_parallel_tools,
    openai_counts_the_cache,
    openai_errors_have_their_types,
    responses_stream_text_and_tools,
]

if __name__ == "__main__":
    print(f"anthropic {anthropic.__version__}, openai {openai.__version__}")
    for check in CHECKS:
        check()
        print("ok ", check.__name__.replace("_", " "))
