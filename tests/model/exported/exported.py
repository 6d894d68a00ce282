"""What the two scripts beside it share: a model without its stack traces, and its inputs and output as an NPZ."""
import pathlib

import numpy as np
import onnx

HERE = pathlib.Path(__file__).parent


def clean(path):
    """Takes out what exporters say about the program that ran them, and value types, which are found again."""
    model = onnx.load(path)
    model.doc_string = model.graph.doc_string = ""
    for thing in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        thing.doc_string = ""
        if hasattr(thing, "metadata_props"):
            del thing.metadata_props[:]
    for node in model.graph.node:
        assert not any(attr.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attr in node.attribute), node.name
    del model.graph.value_info[:]
    path.write_bytes(model.SerializeToString())
    return model


def keep(name, inputs, output):
    """Checks that the file has these inputs, and writes them with what the model gives for them."""
    model = clean(HERE / f"{name}.onnx")
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in weights]
    assert len(names) == len(inputs) and len(model.graph.output) == 1, (name, names)
    np.savez_compressed(HERE / f"{name}.npz", **dict(zip(names, inputs)), **{f"expected {model.graph.output[0].name}": output})
    print(f"{name}: {(HERE / f'{name}.onnx').stat().st_size} bytes, {len(model.graph.node)} nodes, opset {model.opset_import[0].version}")
