import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { repositoryRoot } from '../golden/repository-root.js'
import { testService, type TestService } from './web-fixture.js'

const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
const python = process.env.HARRIER_TRITON_PYTHON ?? join(cache, 'harrier', 'triton-client-2.73.0', 'bin', 'python')
const skip = existsSync(python) ? false : `Triton's client is not there: . scripts/triton-client.sh installs it`

/** What the client finds, one check a line: it ends with an error at the first that fails. */
const checks = `
import sys, numpy as np, tritonclient.http as http
from tritonclient.utils import InferenceServerException
client = http.InferenceServerClient(sys.argv[1], concurrency=8)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("card-row") and client.is_model_ready("card-row", "1")
assert not client.is_model_ready("nobody")
assert client.get_server_metadata()["name"] == "harrier"
assert client.get_model_metadata("card-row", "1")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 14]}]
assert client.get_model_config("card-row")["dynamic_batching"]
assert any(each["name"] == "card-row" and each["state"] == "READY" for each in client.get_model_repository_index())
rows = np.random.default_rng(1).normal(size=(40, 14)).astype(np.float32)
def request(values, binary):
    tensor = http.InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    return [tensor]
def score(values, binary_in, binary_out):
    return client.infer("card-row", request(values, binary_in), outputs=[http.InferRequestedOutput("score", binary_data=binary_out)]).as_numpy("score")
alone = np.concatenate([score(rows[i:i + 1], True, True) for i in range(40)])
for binary_in in (True, False):
    for binary_out in (True, False):
        assert np.array_equal(score(rows, binary_in, binary_out), alone), (binary_in, binary_out)
waiting = [client.async_infer("card-row", request(rows[i:i + 1], True)) for i in range(40)]
assert np.array_equal(np.concatenate([each.get_result().as_numpy("score") for each in waiting]), alone)
assert client.infer("card-row", request(rows, True), request_id="r-1", priority=1, timeout=30_000_000).get_response()["id"] == "r-1"
stats = client.get_inference_statistics("card-row")["model_stats"][0]
assert stats["inference_count"] == 40 + 160 + 40 + 40, stats
try:
    client.infer("card-row", request(rows[:, :13], True))
    raise SystemExit("a wrong shape was taken")
except InferenceServerException as error:
    assert "takes float32 [rows, 14]" in error.message(), error.message()
print("all of it")
`

describe("Triton's Python client", { skip }, () => {
  let service: TestService
  let address = ''
  before(async () => {
    service = await testService({ models: ['card-row', 'card-gru'] })
    address = new URL(await service.app.listen({ host: '127.0.0.1', port: 0 })).host
  })
  after(() => service.close())

  it('finds health, metadata, index and statistics, and the same scores by JSON and binary, one by one, together and at once', async () => {
    const { stdout } = await promisify(execFile)(python, ['-c', checks, address])
    assert.equal(stdout.trim(), 'all of it')
  })

  it('runs the example of the documentation', async () => {
    const { stdout } = await promisify(execFile)(python, [join(repositoryRoot(), 'docs', 'examples', 'infer.py'), address])
    const scores = [...stdout.matchAll(/scores \[([\d.]+), ([\d.]+)\]/g)].map(([, quiet, large]) => [Number(quiet), Number(large)])
    assert.equal(scores.length, 2)
    for (const [quiet, large] of scores) assert.ok(quiet! < 0.1 && large! > 0.9, stdout)
  })
})
