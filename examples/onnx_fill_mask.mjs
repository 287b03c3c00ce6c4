// Fills a mask with an ONNX file of albert_fast, in onnxruntime-web: the same code runs in a browser.
//     npm install onnxruntime-web && node onnx_fill_mask.mjs mini.onnx "[2, 14, 4, 3]"
// The ids are what `albert-fast tokenize` prints; 4 is [MASK].
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

const [file, list] = process.argv.slice(2);
const ids = JSON.parse(list);
const MASK = 4;
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(new Uint8Array(await readFile(file)));
const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
const { logits } = await session.run({
  input_ids: tensor(ids),
  attention_mask: tensor(ids.map(() => 1)),
  token_type_ids: tensor(ids.map(() => 0)),
});
const width = logits.dims[2];
const scores = logits.data.subarray(ids.indexOf(MASK) * width, (ids.indexOf(MASK) + 1) * width);
const best = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, 5);
console.log(JSON.stringify(best.map((id) => ({ id, logit: scores[id] }))));
