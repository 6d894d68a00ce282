#!/usr/bin/env python3
"""Bad input, over the command line, recipes, files and both protocols: the exit code or status and the text of each answer.

Afterwards the server that took all of it is alive, and as large as before.
"""
import gzip
import json
import os
import re
import struct

from harness import (WORK, Server, bars_images, case, churn_model, churn_table, expect, field, finish, idx_bytes, infer_tensor, npz, ok, quern,
                     write)

TABLE = churn_table()
RECIPE = f"quern: 1\nname: bad\ndata: {{path: {TABLE}, target: churn}}\n"


def bad_command(name, code, patterns, *words, **options):
    @case("command_" + name)
    def _():
        expect(quern(*words, **options), code, *patterns)


def bad_recipe(name, patterns, text, code=2):
    @case("recipe_" + name)
    def _():
        expect(quern("train", write(f"bad-{name}.yaml", text), "--out", WORK / "never"), code, *patterns)
        assert not (WORK / "never").exists(), "a model was written"


def bad_table(name, patterns, content, code=3, target="churn", suffix="csv"):
    @case("file_" + name)
    def _():
        path = write(f"bad-{name}.{suffix}", content)
        expect(quern("train", path, "--target", target, "--out", WORK / "never"), code, *patterns)
        assert not (WORK / "never").exists(), "a model was written"


# ---- command line ----

bad_command("unknown_verb", 2, ["trian", "did you mean.*train"], "trian", TABLE)
bad_command("unknown_flag", 2, ["--targt", "did you mean.*--target"], "train", TABLE, "--targt", "churn")
bad_command("flag_without_its_value", 2, ["--target"], "train", TABLE, "--target")
bad_command("threads_not_a_number", 2, ["threads", "many"], "train", TABLE, "--target", "churn", "--threads", "many")
bad_command("threads_zero", 2, ["threads", "0"], "train", TABLE, "--target", "churn", "--threads", "0")
bad_command("threads_negative", 2, ["threads", "-3"], "train", TABLE, "--target", "churn", "--threads=-3")
bad_command("seed_not_a_number", 2, ["seed", "1x"], "train", TABLE, "--target", "churn", "--seed", "1x")
bad_command("memory_without_a_unit_that_exists", 2, ["mem", "2XB"], "train", TABLE, "--target", "churn", "--mem", "2XB")
bad_command("time_that_is_no_time", 2, ["time", "soon"], "train", TABLE, "--target", "churn", "--time", "soon")
bad_command("set_without_equals", 2, ["train.epochs"], "train", TABLE, "--target", "churn", "--set", "train.epochs")
bad_command("set_of_an_unknown_key", 2, ["train.epoch", "epochs"], "train", TABLE, "--target", "churn", "--set", "train.epoch=3")
bad_command("no_such_file", 5, ["nowhere.csv"], "train", "nowhere.csv", "--target", "churn")
bad_command("a_folder_that_holds_no_data", 3, ["empty"], "train", (WORK / "empty").mkdir() or WORK / "empty", "--target", "y")
bad_command("unknown_target", 2, ["chrun", "did you mean.*churn"], "train", TABLE, "--target", "chrun")
bad_command("no_target", 2, ["target"], "train", TABLE)
bad_command("a_memory_budget_too_small", 4, ["mem"], "train", TABLE, "--target", "churn", "--mem", "1KiB")
bad_command("train_without_arguments", 2, ["train"], "train")
bad_command("too_many_arguments", 2, ["extra"], "eval", "a", "b", "extra")
bad_command("a_model_that_is_not_there", 5, ["no-model"], "predict", "no-model", TABLE)
bad_command("a_folder_that_is_no_model", 5, ["empty", "no model"], "predict", WORK / "empty", TABLE)
bad_command("serve_nothing", 2, ["model"], "serve")
bad_command("serve_a_port_out_of_range", 2, ["port", "70000"], "serve", WORK / "empty", "--port", "70000")
bad_command("schema_of_something_else", 2, ["cake"], "schema", "cake")
bad_command("help_of_an_unknown_verb", 2, ["bake"], "help", "bake")

bad_command("a_flag_without_a_verb", 2, ["unknown flag '--fast'"], "--fast")
bad_command("set_of_a_misspelt_section", 2, ["trian.epochs", "did you mean 'train.epochs'"], "train", TABLE, "--target", "churn", "--set",
            "trian.epochs=3")
bad_command("a_name_that_leaves_its_folder", 2, ["name", r"\.\./up"], "train", TABLE, "--target", "churn", "--name", "../up")
bad_command("train_fail_under_an_unknown_metric", 2, ["aurc", "did you mean 'auroc'"], "train", TABLE, "--target", "churn", "--fail-under",
            "aurc=0.9", "--out", WORK / "never")
bad_command("data_without_an_end", 4, ["/dev/zero", "16777216"], "look", "/dev/zero", "--mem", "16MiB")

@case("files_of_other_programs_are_answered_with_what_to_do")
def _():
    for ending, what, do in (("npy", "one array without a name", "savez"), ("parquet", "Parquet", "to_csv"), ("xlsx", "spreadsheet", "CSV")):
        expect(quern("look", write(f"foreign.{ending}", b"\x93NUMPY\x01\x00")), 3, f"{what}.* is not read as data", do)
    words = npz(WORK / "words.npz", {"x": ("<f4", (2, 2), bytes(16)), "y": ("<U3", (2,), bytes(24))})
    expect(quern("train", words, "--target", "y"), 3, "elements of type '<U3'", "return_inverse")


@case("command_features_beyond_the_memory_budget")
def _():
    rows = "".join(f"L{i * 7919 % 601},{i * 31 % 977},{'yes' if i * 7919 % 601 < 300 else 'no'}\n" for i in range(40000))
    table = write("many-levels.csv", "level,n,y\n" + rows)
    expect(quern("train", table, "--target", "y", "--mem", "60MiB", "--out", WORK / "never"), 4, r"features of 40000 rows need about \d+ MiB",
           "budget is 60 MiB")
    assert not (WORK / "never").exists()


@case("command_serve_beyond_loopback_without_keys")
def _():
    expect(quern("serve", churn_model(), "--host", "0.0.0.0", "--port", "0", timeout=20), 2, "insecure-no-auth|keys")


@case("command_out_that_cannot_be_written")
def _():
    file = write("a-file", "x")
    expect(quern("train", TABLE, "--target", "churn", "--out", file / "model"), 5, "a-file")


@case("command_fail_under_an_unknown_metric")
def _():
    expect(quern("eval", churn_model(), TABLE, "--fail-under", "acuracy=0.9"), 2, "acuracy")


@case("command_port_in_use")
def _():
    with Server(churn_model()) as server:
        expect(quern("serve", churn_model(), "--port", server.port, timeout=20), 5, "in use", str(server.port))


# ---- recipes ----

bad_recipe("unknown_key", ["modle", "did you mean.*model", r":4:1"], RECIPE + "modle: {type: mlp}\n")
bad_recipe("unknown_key_below", ["epoch", "epochs", r":4:\d"], RECIPE + "train: {epoch: 3}\n")
bad_recipe("duplicate_key", ["name", r":4:1", "twice|duplicate|again"], RECIPE + "name: other\n")
bad_recipe("not_yaml", [r"bad-not_yaml.yaml:\d+:\d+"], "quern: 1\ndata: {path: [\n")
bad_recipe("empty", ["data|empty"], "")
bad_recipe("a_list", ["mapping|map|key"], "- quern\n- 1\n")
bad_recipe("no_data", ["data"], "quern: 1\nname: x\n")
bad_recipe("a_version_of_tomorrow", ["quern", "99"], RECIPE.replace("quern: 1", "quern: 99"))
bad_recipe("a_word_for_a_number", ["epochs", "many"], RECIPE + "train: {epochs: many}\n")
bad_recipe("a_number_out_of_range", ["epochs", "-1"], RECIPE + "train: {epochs: -1}\n")
bad_recipe("a_rate_of_dropout_beyond_one", ["dropout", "1.5"], RECIPE + "train: {dropout: 1.5}\n")
bad_recipe("an_unknown_choice", ["optimizer", "adan", "adam"], RECIPE + "train: {optimizer: adan}\n")
bad_recipe("an_unknown_model", ["mlpp", "mlp"], RECIPE + "model: {type: mlpp}\n")
bad_recipe("an_unknown_layer", ["dens", "dense"], RECIPE + "model:\n  layers:\n    - dens: {units: 3}\n")
bad_recipe("a_layer_without_its_size", ["units"], RECIPE + "model:\n  layers:\n    - dense: {activation: relu}\n")
bad_recipe("a_layer_too_large", ["units"], RECIPE + "model:\n  layers:\n    - dense: {units: 99999999999999}\n")
bad_recipe("a_column_that_is_not_there", ["agee", "age"], RECIPE + "columns:\n  agee: {type: number}\n")
bad_recipe("a_column_type_that_does_not_exist", ["numbr", "number"], RECIPE + "columns:\n  age: {type: numbr}\n")
bad_recipe("parts_that_do_not_add_up", ["parts"], RECIPE + "split: {parts: [0.9, 0.9, 0.9]}\n")
bad_recipe("a_key_of_a_later_quern", ["tune|later|not"], RECIPE + "tune: {trials: 3}\n")
bad_recipe("a_yaml_bomb", ["alias|anchor|size|large|deep"],
           "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n"
                                                     for i in range(9)) + RECIPE)
bad_recipe("too_deep", ["deep|depth|nest"], RECIPE + "model: " + "[" * 500 + "]" * 500 + "\n", code=4)
bad_recipe("a_convolution_larger_than_its_image", ["kernel|conv2d", "99"],
           f"quern: 1\ndata: {{path: {bars_images('bad-bars', 60, 20)}}}\n"
           "model:\n  layers:\n    - conv2d: {filters: 4, kernel: 99}\n    - flatten\n    - dense: {units: auto}\n")
bad_recipe("json_with_a_mistake", [r"bad-json_with_a_mistake"], '{"quern": 1, "data": {"path": "x.csv",, }}')


def bad_check(name, patterns, text, code=2):
    @case("check_" + name)
    def _():
        expect(quern("check", write(f"check-{name}.yaml", RECIPE + text)), code, *patterns)


# check does all that training does before its first step
bad_check("a_last_layer_of_a_wrong_size", ["3 scores", "2 classes"], "model: {layers: [dense: {units: 3}]}\n")
bad_check("a_convolution_of_a_table", ["kernel"], "model: {layers: [conv2d: {filters: 3}]}\n")
bad_check("a_network_larger_than_memory", ["memory"], "model: {layers: [dense: {units: 4000000}, dense: {units: 4000000}, dense: {units: auto}]}\n", 4)
bad_check("a_metric_of_another_task", ["rmse", "binary"], "train: {metric: rmse}\n")
bad_check("a_text_column_called_a_number", ["expected a number", r"row \d+, column 2 .city"], "columns: {city: {type: number}}\n", 3)


# ---- files ----

HEAD = "age,city,spend,calls,churn\n"
ROW = "41,Oslo,12.5,3,yes\n"
bad_table("empty", ["empty"], "")
bad_table("header_only", ["row"], HEAD)
bad_table("one_row", ["churn", "nothing to learn"], HEAD + ROW)
bad_table("a_row_too_long", [r"bad-a_row_too_long.csv", r"\b52\b", "5", "6 cells"], HEAD + ROW * 50 + "1,2,3,4,5,6,7\n" + ROW * 20)
bad_table("a_row_too_short", [r"\b52\b", "5", "2"], HEAD + ROW * 50 + "1,2\n" + ROW * 20)
bad_table("an_open_quote", ["quote"], HEAD + ROW * 50 + '41,"Oslo,12.5,3,yes\n' + ROW * 20)
bad_table("two_columns_of_one_name", ["age"], HEAD.replace("city", "age") + ROW * 60)
bad_table("one_class_only", ["churn", "yes"], HEAD + ROW * 60)
bad_table("a_target_always_missing", ["churn"], HEAD + "41,Oslo,12.5,3,\n" * 60)
bad_table("bytes_that_are_no_text", ["utf-8|text|byte"], HEAD.encode() + b"41,\xff\xfe\xc0,1,2,yes\n" * 60)
bad_table("zero_bytes", ["zero|nul|byte"], HEAD.encode() + b"41,Os\0lo,1,2,yes\n" * 60)


bad_table("gzip_is_not_text", ["gzip", "gunzip"], gzip.compress(HEAD.encode() + ROW.encode() * 60))
bad_table("a_spreadsheet", ["spreadsheet", "csv"], b"PK\3\4" + bytes(200))
bad_table("parquet", ["parquet"], b"PAR1" + bytes(200))
bad_table("only_texts", ["no column is left", "'note'"],
          "note,churn\n" + "".join(f"this is sentence number {i} of quite many others,{'yes' if i % 3 else 'no'}\n" for i in range(90)))
bad_table("json_lines_cut", [r"bad-json_lines_cut.jsonl:3:"], '{"age": 1, "churn": "yes"}\n{"age": 2, "churn": "no"}\n{"age": 3, \n',
          suffix="jsonl")
bad_table("json_lines_nested", ["age", "array", ":2"], '{"age": 1, "churn": "yes"}\n{"age": [2], "churn": "no"}\n', suffix="jsonl")
bad_table("json_that_is_one_array", ["object", ":1"], '[{"age": 1, "churn": "yes"}]\n', suffix="json")


def bad_images(name, patterns, images, labels, code=3):
    @case("file_idx_" + name)
    def _():
        folder = WORK / f"idx-{name}"
        for part in ("train", "t10k"):
            write(f"{folder}/{part}-images-idx3-ubyte", images)
            write(f"{folder}/{part}-labels-idx1-ubyte", labels)
        expect(quern("train", folder, "--out", WORK / "never"), code, *patterns)


GOOD_LABELS = idx_bytes([40], [0, 1] * 20)
bad_images("cut_short", ["images-idx3"], idx_bytes([40, 28, 28], bytes(1000)), GOOD_LABELS)
bad_images("of_a_wrong_type", ["images-idx3"], b"\0\0\x42\x03" + bytes(100), GOOD_LABELS)
bad_images("not_idx_at_all", ["images-idx3"], b"hello, I am a picture" * 10, GOOD_LABELS)
bad_images("asking_for_terabytes", ["images-idx3"], idx_bytes([4000000000, 65535, 65535], bytes(100)), GOOD_LABELS)
bad_images("with_fewer_labels", ["40", "30"], idx_bytes([40, 28, 28], bytes(40 * 784)), idx_bytes([30], [0, 1] * 15))


@case("file_idx_gz_cut_short")
def _():
    folder = bars_images("gz-cut", 60, 20)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:200])
    expect(quern("train", folder, "--out", WORK / "never"), 3, "train-images-idx3-ubyte.gz")


@case("file_predict_with_an_unknown_column")
def _():
    table = write("unknown-column.csv", "age,city,spend,calls,shoes\n41,Oslo,1,2,3\n")
    expect(quern("predict", churn_model(), table), 3, "shoes")


@case("file_predict_with_a_word_in_a_number")
def _():
    table = write("word.csv", "age,city,spend,calls\n41,Oslo,1,2\nold,Oslo,1,2\n")
    expect(quern("predict", churn_model(), table), 3, "age", "old", r"\b3\b|row 2")


@case("file_eval_without_the_target")
def _():
    table = write("targetless.csv", "age,city,spend,calls\n41,Oslo,1,2\n")
    expect(quern("eval", churn_model(), table), 3, "churn")


def broken_model(name, file, change, patterns, code=3):
    @case("file_model_" + name)
    def _():
        place = WORK / f"broken-{name}" / "1"
        os.makedirs(place)
        source = next(path for path in sorted(churn_model().iterdir()) if path.name.isdigit())
        for path in source.iterdir():
            (place / path.name).write_bytes(path.read_bytes())
        (place / file).write_bytes(change((place / file).read_bytes()))
        for words in (("predict", place.parent, TABLE), ("serve", place.parent, "--port", "0")):
            expect(quern(*words, timeout=20), code, *patterns)


def longer_header(data):
    return struct.pack("<Q", 1 << 60) + data[8:]


broken_model("weights_cut", "model.safetensors", lambda data: data[:-100], ["model.safetensors"])
broken_model("weights_header_huge", "model.safetensors", longer_header, ["model.safetensors"])
broken_model("weights_empty", "model.safetensors", lambda data: b"", ["model.safetensors"])
broken_model("one_weight_changed", "model.safetensors", lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:], ["model.safetensors", "sha256"])
broken_model("description_cut", "quern.json", lambda data: data[:len(data) // 2], ["quern.json"])
broken_model("description_not_json", "quern.json", lambda data: b"{]", ["quern.json"])
broken_model("description_of_tomorrow", "quern.json", lambda data: re.sub(rb'("quern"|"version"|"format")\s*:\s*1\b', rb"\1: 99", data, 1),
             ["quern.json|version|newer"])


# ---- REST ----

_server = {}


def server():
    if not _server:
        _server["it"] = Server(churn_model()).__enter__()
        for _ in range(20):
            _server["it"].post("/v1/models/churn:predict", {"instances": [{"age": 39, "city": "Oslo", "spend": 3, "calls": 4}]})
        _server["rss"] = _server["it"].rss_kb()
    return _server["it"]


def bad_request(name, status, patterns, path, body, method="POST", headers=None):
    @case("rest_" + name)
    def _():
        got, text = server().request(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body),
                                     {"content-type": "application/json", **(headers or {})})
        assert got == status, f"expected {status}: {got} {text[:500]}"
        for pattern in patterns:
            assert re.search(pattern, text, re.I), f"expected /{pattern}/: {text[:500]}"
        assert "/tmp" not in text and ".c:" not in text, f"an inner name reached the client: {text}"


PREDICT, INFER = "/v1/models/churn:predict", "/v2/models/churn/infer"
TENSOR = {"name": "age", "shape": [1], "datatype": "FP64", "data": [39]}
bad_request("unknown_path", 404, [], "/nowhere", None, "GET")
bad_request("unknown_model", 404, ["nobody"], "/v1/models/nobody:predict", {"instances": [{}]})
bad_request("unknown_version", 404, ["9"], "/v2/models/churn/versions/9/infer", {"inputs": []})
bad_request("wrong_method", 405, [], PREDICT, None, "DELETE")
bad_request("not_json", 400, ["json|byte|expected|value"], PREDICT, "{instances")
bad_request("empty_body", 400, [], PREDICT, "")
bad_request("json_too_deep", 413, ["deep|depth|nest"], PREDICT, "[" * 5000)
bad_request("no_instances", 400, ["instances"], PREDICT, {"rows": []})
bad_request("instances_not_a_list", 400, ["instances"], PREDICT, {"instances": 3})
bad_request("unknown_column", 400, ["shoes"], PREDICT, {"instances": [{"age": 39, "shoes": 2}]})
bad_request("a_word_in_a_number", 400, ["age", "old"], PREDICT, {"instances": [{"age": "old", "city": "Oslo"}]})
bad_request("a_list_in_a_cell", 400, ["age"], PREDICT, {"instances": [{"age": [1, 2]}]})
bad_request("instances_and_inputs", 400, ["instances", "inputs"], PREDICT, {"instances": [{"age": 1}], "inputs": {"age": [1]}})
bad_request("infer_without_inputs", 400, ["inputs"], INFER, {"id": "1"})
bad_request("infer_unknown_input", 400, ["agee"], INFER, {"inputs": [{**TENSOR, "name": "agee"}]})
bad_request("infer_unknown_datatype", 400, ["FP99"], INFER, {"inputs": [{**TENSOR, "datatype": "FP99"}]})
bad_request("infer_shape_beyond_its_data", 400, ["age", "1000|1,000"], INFER, {"inputs": [{**TENSOR, "shape": [1000]}]})
bad_request("infer_shape_that_overflows", 413, ["age"], INFER, {"inputs": [{**TENSOR, "shape": [4611686018427387904, 4, 4]}]})
bad_request("infer_negative_shape", 400, ["age|shape", "-1"], INFER, {"inputs": [{**TENSOR, "shape": [-1]}]})
bad_request("infer_unknown_output", 400, ["colour"], INFER, {"inputs": [TENSOR], "outputs": [{"name": "colour"}]})
bad_request("infer_the_same_input_twice", 400, ["age"], INFER, {"inputs": [TENSOR, TENSOR]})
bad_request("content_length_that_is_no_number", 400, [], PREDICT, "{}", headers={"content-length": "2x"})
bad_request("two_ways_of_framing", 400, [], PREDICT, "2\r\n{}\r\n0\r\n\r\n", headers={"content-length": "2", "transfer-encoding": "chunked"})
bad_request("a_body_beyond_the_limit", 413, [], PREDICT, None, headers={"content-length": "99999999999"})
bad_request("a_header_beyond_the_limit", 431, [], PREDICT, "{}", headers={"x-long": "a" * 200000})


@case("rest_a_request_line_of_rubbish")
def _():
    assert b" 400 " in server().raw(b"\x16\x03\x01hello there\r\n\r\n", timeout=5)[:40] or server().alive()
    assert server().raw(b"GET  /v2 HTTP/1.1\r\n\r\n", timeout=5).startswith(b"HTTP/1.1 400")


# ---- gRPC ----

SERVICE = "inference.GRPCInferenceService"
INVALID, NOT_FOUND, UNIMPLEMENTED, EXHAUSTED = 3, 5, 12, 8
AGE = field(1, struct.pack("<d", 39.0))


def fp64(*values):
    return field(7, struct.pack(f"<{len(values)}d", *values))


def bad_call(name, statuses, patterns, method, message=b"", framed=None, content_type="application/grpc"):
    @case("grpc_" + name)
    def _():
        code, text, _ = server().grpc(method, message, framed, content_type)
        allowed = statuses if isinstance(statuses, tuple) else (statuses,)
        assert code in allowed, f"expected {allowed}: {code} {text}"
        for pattern in patterns:
            assert re.search(pattern, text, re.I), f"expected /{pattern}/: {text}"


CHURN = field(1, "churn")
bad_call("unknown_method", UNIMPLEMENTED, [], f"{SERVICE}/Guess")
bad_call("unknown_service", UNIMPLEMENTED, [], "nobody.Nothing/Guess")
bad_call("unknown_model", NOT_FOUND, ["nobody"], f"{SERVICE}/ModelInfer", field(1, "nobody"))
bad_call("no_inputs", INVALID, ["input"], f"{SERVICE}/ModelInfer", CHURN)
bad_call("not_protobuf", (INVALID, 13), [], f"{SERVICE}/ModelInfer", b"\xff\xff\xff\xff\xff\xff")
bad_call("a_frame_cut_short", (INVALID, 13), [], f"{SERVICE}/ModelInfer", framed=b"\0\0\0\xff\xffabc")
bad_call("a_frame_that_asks_for_gigabytes", EXHAUSTED, [], f"{SERVICE}/ModelInfer", framed=b"\0\xf0\0\0\0abc")
bad_call("a_compressed_frame", UNIMPLEMENTED, [], f"{SERVICE}/ModelInfer", framed=b"\1\0\0\0\1a")
bad_call("an_unknown_input", INVALID, ["agee"], f"{SERVICE}/ModelInfer", CHURN + infer_tensor("agee", "FP64", [1], field(7, struct.pack("<d", 1))))
bad_call("an_unknown_datatype", INVALID, ["FP99"], f"{SERVICE}/ModelInfer", CHURN + infer_tensor("age", "FP99", [1]))
bad_call("a_shape_beyond_its_data", INVALID, ["age"], f"{SERVICE}/ModelInfer",
         CHURN + infer_tensor("age", "FP64", [100000000]) + fp64(39.0))
bad_call("a_shape_that_overflows", EXHAUSTED, ["age"], f"{SERVICE}/ModelInfer",
         CHURN + infer_tensor("age", "FP64", [1 << 62, 4]) + fp64(39.0))
bad_call("a_negative_shape", INVALID, ["age|shape"], f"{SERVICE}/ModelInfer", CHURN + infer_tensor("age", "FP64", [-1]) + fp64(39.0))
bad_call("raw_and_typed_contents_mixed", INVALID, ["raw"], f"{SERVICE}/ModelInfer",
         CHURN + infer_tensor("age", "FP64", [1], field(7, struct.pack("<d", 1))) + fp64(39.0))
bad_call("strings_whose_lengths_lie", INVALID, ["city"], f"{SERVICE}/ModelInfer",
         CHURN + infer_tensor("city", "BYTES", [1]) + field(7, struct.pack("<I", 4000000000) + b"Oslo"))
bad_call("a_content_type_that_is_not_grpc", ("HTTP 415", "HTTP 404", "HTTP 405"), [], f"{SERVICE}/ModelInfer", CHURN,
         content_type="text/plain")
bad_call("health_of_an_unknown_service", NOT_FOUND, [], "grpc.health.v1.Health/Check", field(1, "nobody"))


@case("the_server_is_alive_and_still_answers")
def _():
    assert server().alive()
    status, text = server().post(PREDICT, {"instances": [{"age": 39, "city": "Oslo", "spend": 3, "calls": 4}]})
    assert status == 200 and json.loads(text)["predictions"][0]["prediction"] in ("yes", "no"), text


@case("the_server_is_as_large_as_before")
def _():
    bodies = ["[" * 3000, json.dumps({"instances": [{"shoes": 1}] * 500}), json.dumps({"inputs": [{**TENSOR, "shape": [1 << 40]}]})]
    sizes = []
    for _ in range(4):
        for turn in range(250):
            server().post(PREDICT if turn % 3 < 2 else INFER, bodies[turn % 3])
        sizes.append(server().rss_kb())
    assert sizes[-1] - sizes[0] < 512, f"memory grows: {sizes} kB"
    assert sizes[-1] < _server["rss"] + 8192, f"{_server['rss']} kB became {sizes[-1]} kB"
    _server["it"].__exit__()
    assert _server["it"].process.returncode == 0, _server["it"].process.returncode


finish()
