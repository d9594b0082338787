// Load on the upload path, as the reference system's own load client does it: presign, PUT with nothing but the
// content type, GET complete. Every upload gets bytes of its own after the JPEG's end marker, so that no two are twins.
//
//   k6 run -e BASE_URL=http://127.0.0.1:8080 -e API_KEY=mp_... -e FILE=$PWD/photo.jpg k6/upload.js

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';

const BASE_URL = __ENV.BASE_URL || 'http://127.0.0.1:8080';
const API_KEY = __ENV.API_KEY;
const FILE = __ENV.FILE || 'photo.jpg';
const CONTENT_TYPE = __ENV.CONTENT_TYPE || 'image/jpeg';

const photo = open(FILE, 'b');

const presignTime = new Trend('presign_duration', true);
const putTime = new Trend('put_duration', true);
const completeTime = new Trend('complete_duration', true);
const uploads = new Counter('uploads_completed');

export const options = {
  scenarios: {
    uploads: {
      executor: 'ramping-vus',
      startVUs: 1,
      stages: [
        { duration: __ENV.RAMP || '30s', target: Number(__ENV.VUS || 16) },
        { duration: __ENV.HOLD || '2m', target: Number(__ENV.VUS || 16) },
        { duration: '10s', target: 0 },
      ],
    },
  },
  thresholds: {
    checks: ['rate>0.999'],
    presign_duration: ['p(95)<150'],
  },
};

export function setup() {
  if (!API_KEY) {
    exec.test.abort('API_KEY is not set: make one with `medialane keys mint TENANT`');
  }
}

export default function () {
  const name = `k6-${exec.scenario.iterationInTest}`;
  const body = marked(photo, ` ${name} ${Date.now()}`);
  const authorization = { Authorization: `Bearer ${API_KEY}` };

  const presigned = http.post(
    `${BASE_URL}/api/v1/storage/presign`,
    JSON.stringify({ fileName: `${name}.jpg`, contentType: CONTENT_TYPE, size: body.byteLength }),
    { headers: { ...authorization, 'Content-Type': 'application/json' }, tags: { name: 'presign' } },
  );
  presignTime.add(presigned.timings.duration);
  if (!check(presigned, { 'presign is 200': (answer) => answer.status === 200 })) {
    return;
  }
  const { uploadUrl, assetId } = presigned.json('data');

  const put = http.put(uploadUrl, body, { headers: { 'Content-Type': CONTENT_TYPE }, tags: { name: 'put' } });
  putTime.add(put.timings.duration);
  if (!check(put, { 'put is 200': (answer) => answer.status === 200 })) {
    return;
  }

  const completed = http.get(`${BASE_URL}/api/v1/assets/${assetId}/complete`, {
    headers: authorization,
    tags: { name: 'complete' },
  });
  completeTime.add(completed.timings.duration);
  if (check(completed, { 'complete is 200': (answer) => answer.status === 200 })) {
    uploads.add(1);
  }
}

// The photo's bytes and then a mark, in one buffer.
function marked(content, mark) {
  const bytes = new Uint8Array(content.byteLength + mark.length);
  bytes.set(new Uint8Array(content));
  for (let index = 0; index < mark.length; index += 1) {
    bytes[content.byteLength + index] = mark.charCodeAt(index) & 0xff;
  }
  return bytes.buffer;
}
