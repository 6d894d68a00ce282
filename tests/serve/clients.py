#!/usr/bin/env python3
"""Real clients against a running server: tritonclient (HTTP and gRPC), grpcio with health and reflection. TAP on stdout.

usage: clients.py SERVE_PROGRAM VENV_DIR

The clients come from PyPI into a virtual environment, made once in VENV_DIR. Where PyPI is out of reach the whole
test is skipped with a line that says so.
"""
import os
import subprocess
import sys
import tempfile
import traceback

PACKAGES = ['tritonclient[http,grpc]', 'grpcio', 'grpcio-health-checking', 'grpcio-reflection']


def enter_venv(folder):
    """Runs this file again inside the environment; makes that first when it is not there."""
    python = os.path.join(folder, 'bin', 'python')
    ready = os.path.join(folder, 'complete')
    if not os.path.exists(ready):
        subprocess.run([sys.executable, '-m', 'venv', folder], check=True, stdout=subprocess.DEVNULL)
        install = [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--retries', '1',
                   '--timeout', '10'] + PACKAGES
        made = subprocess.run(install, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if made.returncode != 0:
            reason = (made.stderr.strip().splitlines() or ['pip failed'])[-1]
            print(f'1..0 # SKIP the clients cannot be installed from PyPI: {reason[:150]}')
            sys.exit(0)
        open(ready, 'w', encoding='ascii').close()
    os.environ['QUERN_CLIENTS_INSIDE'] = '1'
    os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])


if 'QUERN_CLIENTS_INSIDE' not in os.environ:
    try:
        enter_venv(sys.argv[2])
    except (OSError, subprocess.CalledProcessError) as problem:
        print(f'1..0 # SKIP no virtual environment can be made: {problem}')
        sys.exit(0)

import base64
import json
import queue
import struct
import urllib.error
import urllib.request
import zlib

import grpc
import numpy as np
import tritonclient.grpc as tgrpc
import tritonclient.http as thttp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from google.protobuf.descriptor_pool import DescriptorPool
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

server = None
address = ''


def start(program, folder):
    global server, address
    server = subprocess.Popen([program, folder], stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().strip().removeprefix('http://')
    assert address, 'the server did not start'


def post(path, body, expected=200):
    request = urllib.request.Request(f'http://{address}{path}', data=json.dumps(body).encode(),
                                     headers={'content-type': 'application/json'})
    try:
        with urllib.request.urlopen(request) as answer:
            assert answer.status == expected
            return json.load(answer)
    except urllib.error.HTTPError as error:
        assert error.code == expected, (error.code, error.read())
        return json.load(error)


def close(a, b):
    np.testing.assert_allclose(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), rtol=1e-5, atol=1e-6)


def raw_inputs(module):
    age = module.InferInput('age', [2, 1], 'INT64')
    age.set_data_from_numpy(np.array([[39], [70]], dtype=np.int64))
    city = module.InferInput('city', [2, 1], 'BYTES')
    city.set_data_from_numpy(np.array([['Oslo'], ['Tromsø']], dtype=np.object_))
    active = module.InferInput('active', [2, 1], 'BOOL')
    active.set_data_from_numpy(np.array([[True], [False]]))
    return [age, city, active]


def plane_input(module, rows):
    item = module.InferInput('input', [len(rows), 2], 'FP32')
    item.set_data_from_numpy(np.array(rows, dtype=np.float32))
    return [item]


def v1_rows():
    rows = [{'age': 39, 'city': 'Oslo', 'active': True}, {'age': 70, 'city': 'Tromsø', 'active': False}]
    return post('/v1/models/churn:predict', {'instances': rows})['predictions']


def http_metadata():
    with thttp.InferenceServerClient(address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready('churn')
        assert not client.is_model_ready('absent')
        assert client.get_server_metadata()['name'] == 'quern'
        assert client.get_model_metadata('plane')['versions'] == ['1', '2']
        assert client.get_model_config('churn')['max_batch_size'] > 0
        assert {row['name'] for row in client.get_model_repository_index()} >= {'churn', 'plane'}


def http_infer():
    expected = v1_rows()
    with thttp.InferenceServerClient(address) as client:
        outputs = [thttp.InferRequestedOutput('prediction', binary_data=False),
                   thttp.InferRequestedOutput('probability', binary_data=True)]
        answer = client.infer('churn', raw_inputs(thttp), outputs=outputs, request_id='seven')
        assert answer.get_response()['id'] == 'seven'
        assert list(answer.as_numpy('prediction')) == [row['prediction'] for row in expected]
        close(answer.as_numpy('probability'), [list(row['probability'].values()) for row in expected])
        binary = client.infer('churn', raw_inputs(thttp))
        assert [text.decode() for text in binary.as_numpy('prediction')] == [row['prediction'] for row in expected]


def http_infer_json_only():
    with thttp.InferenceServerClient(address) as client:
        item = thttp.InferInput('input', [1, 2], 'FP32')
        item.set_data_from_numpy(np.array([[9, 10]], dtype=np.float32), binary_data=False)
        answer = client.infer('plane', [item], outputs=[thttp.InferRequestedOutput('output', binary_data=False)])
        close(answer.as_numpy('output'), post('/v1/models/plane:predict', {'instances': [[9, 10]]})['predictions'])


def http_tensor_signature():
    with thttp.InferenceServerClient(address) as client:
        item = thttp.InferInput('x', [3, 5], 'FP32')
        item.set_data_from_numpy(np.zeros((3, 5), dtype=np.float32))
        answer = client.infer('churn', [item], parameters={'signature': 'tensor'})
        assert answer.as_numpy('probability').shape == (3, 2)


def http_errors():
    with thttp.InferenceServerClient(address) as client:
        try:
            client.infer('plane', [thttp.InferInput('inputt', [1, 2], 'FP32').set_data_from_numpy(
                np.zeros((1, 2), dtype=np.float32))])
            raise AssertionError('accepted')
        except InferenceServerException as error:
            assert 'inputt' in str(error) or "'input'" in str(error), str(error)
            assert error.status() == '400', error.status()


def http_statistics():
    with thttp.InferenceServerClient(address) as client:
        stats = client.get_inference_statistics('churn')['model_stats'][0]
        assert stats['inference_stats']['success']['count'] > 0


def grpc_metadata():
    with tgrpc.InferenceServerClient(address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready('churn')
        assert client.get_server_metadata().name == 'quern'
        metadata = client.get_model_metadata('churn')
        assert [item.name for item in metadata.inputs] == ['age', 'city', 'active']
        config = client.get_model_config('churn').config
        assert config.input[1].data_type == 13 and config.max_batch_size > 0
        assert {row.name for row in client.get_model_repository_index().models} >= {'churn', 'plane'}
        assert client.get_inference_statistics('churn').model_stats[0].name == 'churn'


def grpc_infer():
    expected = v1_rows()
    with tgrpc.InferenceServerClient(address) as client:
        answer = client.infer('churn', raw_inputs(tgrpc), request_id='eight')
        assert answer.get_response().id == 'eight'
        assert [text.decode() for text in answer.as_numpy('prediction')] == [row['prediction'] for row in expected]
        close(answer.as_numpy('probability'), [list(row['probability'].values()) for row in expected])


def grpc_typed_contents():
    stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(address))
    request = service_pb2.ModelInferRequest(model_name='plane')
    item = request.inputs.add(name='input', datatype='FP32', shape=[2, 2])
    item.contents.fp32_contents.extend([1, 2, 9, 10])
    answer = stub.ModelInfer(request)
    expected = post('/v1/models/plane:predict', {'instances': [[1, 2], [9, 10]]})['predictions']
    close(list(answer.outputs[0].contents.fp32_contents), np.ravel(expected))
    assert not answer.raw_output_contents


def grpc_large_message():
    rows = np.random.default_rng(1).random((100000, 2), dtype=np.float32)
    with tgrpc.InferenceServerClient(address) as client:
        answer = client.infer('plane', plane_input(tgrpc, rows)).as_numpy('output')
        one = client.infer('plane', plane_input(tgrpc, rows[77777:77778])).as_numpy('output')
        assert answer.shape == (100000, 1) and answer[77777] == one[0]


def grpc_heavy_is_batched():
    rows = np.random.default_rng(2).random((40, 512), dtype=np.float32)
    with tgrpc.InferenceServerClient(address) as client:
        done = queue.Queue()
        for i in range(40):
            item = tgrpc.InferInput('input', [1, 512], 'FP32').set_data_from_numpy(rows[i:i + 1])
            client.async_infer('heavy', [item], lambda result, error, i=i: done.put((i, result, error)))
        answers = {}
        for _ in range(40):
            i, result, error = done.get(timeout=30)
            assert error is None, error
            answers[i] = result.as_numpy('output')[0]
        for i in range(0, 40, 7):
            item = tgrpc.InferInput('input', [1, 512], 'FP32').set_data_from_numpy(rows[i:i + 1])
            assert (client.infer('heavy', [item]).as_numpy('output')[0] == answers[i]).all()


def grpc_stream():
    with tgrpc.InferenceServerClient(address) as client:
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(5):
            client.async_stream_infer('plane', plane_input(tgrpc, [[i, i]]), request_id=str(i))
        client.async_stream_infer('absent', plane_input(tgrpc, [[0, 0]]))
        client.async_stream_infer('heavy', [tgrpc.InferInput('input', [1, 512], 'FP32').set_data_from_numpy(
            np.zeros((1, 512), dtype=np.float32))])
        for i in range(5):
            result, error = answers.get(timeout=10)
            assert error is None and result.get_response().id == str(i)
        _, error = answers.get(timeout=10)
        assert 'absent' in str(error)
        result, error = answers.get(timeout=10)
        assert error is None and result.as_numpy('output').shape == (1, 16)
        client.stop_stream()


def grpc_errors():
    with tgrpc.InferenceServerClient(address) as client:
        cases = [(lambda: client.infer('absent', plane_input(tgrpc, [[1, 2]])), 'NOT_FOUND', 'absent'),
                 (lambda: client.infer('plane', plane_input(tgrpc, [[1, 2]]), model_version='9'), 'NOT_FOUND', '9'),
                 (lambda: client.infer('plane', [tgrpc.InferInput('input', [1, 3], 'FP32').set_data_from_numpy(
                     np.zeros((1, 3), dtype=np.float32))]), 'INVALID_ARGUMENT', '[1, 3]'),
                 (lambda: client.get_model_metadata('absent'), 'NOT_FOUND', 'absent')]
        for call, status, text in cases:
            try:
                call()
                raise AssertionError('accepted')
            except InferenceServerException as error:
                assert status in error.status() and text in str(error), error


def grpc_unknown_method_and_deadline():
    channel = grpc.insecure_channel(address)
    try:
        channel.unary_unary('/inference.GRPCInferenceService/Nothing')(b'', timeout=5)
        raise AssertionError('accepted')
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    stub = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=0.3)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    try:
        next(watch)
        raise AssertionError('answered')
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def grpc_health():
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
    for service in ('', 'inference.GRPCInferenceService', 'churn'):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    try:
        stub.Check(health_pb2.HealthCheckRequest(service='absent'))
        raise AssertionError('accepted')
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service='absent'))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()
    if hasattr(stub, 'List'):
        assert stub.List(health_pb2.HealthListRequest()).statuses[''].status == 1


def grpc_reflection():
    database = ProtoReflectionDescriptorDatabase(grpc.insecure_channel(address))
    services = set(database.get_services())
    assert {'inference.GRPCInferenceService', 'grpc.health.v1.Health',
            'grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'} <= services
    pool = DescriptorPool(database)
    service = pool.FindServiceByName('inference.GRPCInferenceService')
    assert service.FindMethodByName('ModelInfer').input_type.fields_by_name['raw_input_contents'].number == 7
    assert pool.FindMessageTypeByName('inference.ModelConfig')


def png_of(pixels):
    height, width = pixels.shape
    rows = b''.join(b'\0' + bytes(row) for row in pixels)
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(struct.pack('>I', len(data)) + kind + data +
                                            struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks)


def v1_forms():
    rows = v1_rows()
    columns = post('/v1/models/churn:predict', {'inputs': {'age': [39, 70], 'city': ['Oslo', 'Tromsø'],
                                                           'active': [True, False]}})['outputs']
    assert columns['prediction'] == [row['prediction'] for row in rows]
    listed = post('/v1/models/churn:predict', {'inputs': [{'age': 39, 'city': 'Oslo', 'active': True}]})
    assert listed['predictions'][0] == rows[0]
    assert post('/v1/models/plane/versions/1:predict', {'inputs': {'input': [[1, 2]]}})['outputs']
    assert post('/v1/models/plane:predict', {'instances': [{'input': [1, 2]}]})['predictions']
    tensor = post('/v1/models/churn:predict', {'signature_name': 'tensor', 'instances': [[0, 0, 0, 0, 0]]})
    assert len(tensor['predictions'][0]) == 2
    pixels = [[[i + j for j in range(8)] for i in range(8)]]
    nested = post('/v1/models/picture:predict', {'instances': pixels})['predictions'][0]
    named = post('/v1/models/picture:predict', {'instances': [{'image': pixels[0]}]})['predictions'][0]
    assert nested == named and set(nested['probability']) == {'circle', 'cross', 'line'}
    png = base64.b64encode(png_of(np.array(pixels[0], dtype=np.uint8))).decode()
    file = post('/v1/models/picture:predict', {'instances': [{'image': {'b64': png}}]})['predictions'][0]
    assert file == nested
    price = post('/v1/models/price:predict', {'instances': [{'size': 50, 'rooms': 2}]})['predictions'][0]['prediction']
    assert isinstance(price, float)
    assert post('/v1/models/churn:predict', {'instances': []}) == {'predictions': []}


def described():
    with urllib.request.urlopen(f'http://{address}/openapi.json') as answer:
        document = json.load(answer)
    assert '/v2/models/{model}/infer' in document['paths']
    with urllib.request.urlopen(f'http://{address}/v1/models') as answer:
        models = json.load(answer)
    assert 'churn' in models['models'] and models['object'] == 'list' and models['data'][0]['object'] == 'model'
    with urllib.request.urlopen(f'http://{address}/v1/models/churn') as answer:
        status = json.load(answer)
    assert status['model_version_status'][0]['state'] == 'AVAILABLE' and status['ready'] is True
    with urllib.request.urlopen(f'http://{address}/metrics') as answer:
        assert b'quern_infer_seconds_bucket' in answer.read()


def stops_cleanly():
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    next(watch)
    server.terminate()
    assert server.wait(timeout=10) == 0


TESTS = [http_metadata, http_infer, http_infer_json_only, http_tensor_signature, http_errors, http_statistics,
         grpc_metadata, grpc_infer, grpc_typed_contents, grpc_large_message, grpc_heavy_is_batched, grpc_stream,
         grpc_errors, grpc_unknown_method_and_deadline, grpc_health, grpc_reflection, v1_forms, described, stops_cleanly]


def main():
    print(f'1..{len(TESTS)}')
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        start(sys.argv[1], folder)
        try:
            for number, test in enumerate(TESTS, 1):
                try:
                    test()
                    print(f'ok {number} - {test.__name__}', flush=True)
                except Exception:  # any failure of a client is a failed test
                    failed += 1
                    print(f'not ok {number} - {test.__name__}')
                    for line in traceback.format_exc().splitlines():
                        print('# ' + line, flush=True)
        finally:
            server.kill()
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
