// What a page of an application does to upload the file that its user has chosen; nothing here knows of tests.

const PART_BYTES = 5 << 20;

const chosen = () => document.querySelector('input[type=file]').files[0];

async function ask(api, key, method, path, body) {
  const headers = { Authorization: `Bearer ${key}` };
  if (body) {
    headers['Content-Type'] = 'application/json';
  }
  const answer = await fetch(`${api}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) {
    throw new Error(`${method} ${path}: ${answer.status} ${told.code}`);
  }
  return told;
}

// In parts, with fetch alone: the calls that Uppy makes.
async function inParts(api, key) {
  const file = chosen();
  const multipart = '/uploads/s3/multipart';
  const made = await ask(api, key, 'POST', multipart, {
    filename: file.name, type: file.type, metadata: { name: file.name, type: file.type, size: file.size },
  });
  const query = new URLSearchParams({ key: made.key });
  const parts = [];
  for (let from = 0; from < file.size; from += PART_BYTES) {
    const number = parts.length + 1;
    const { url } = await ask(api, key, 'GET', `${multipart}/${made.uploadId}/${number}?${query}`);
    const put = await fetch(url, { method: 'PUT', body: file.slice(from, from + PART_BYTES) });
    parts.push({ PartNumber: number, ETag: put.headers.get('ETag') });
  }
  await ask(api, key, 'POST', `${multipart}/${made.uploadId}/complete?${query}`, { parts });
  return { assetId: made.uploadId, parts: parts.length };
}

// By a form of HTML: the browser itself sends it to the store, no script is asked.
async function makeForm(api, key) {
  const file = chosen();
  const { data } = await ask(api, key, 'POST', '/storage/presign', {
    fileName: file.name, contentType: file.type, size: file.size, method: 'POST',
  });
  const form = document.createElement('form');
  Object.assign(form, { method: 'POST', action: data.uploadUrl, enctype: 'multipart/form-data' });
  for (const [name, value] of Object.entries(data.fields)) {
    form.append(Object.assign(document.createElement('input'), { type: 'hidden', name, value }));
  }
  const input = document.querySelector('input[type=file]');
  input.name = 'file';
  form.append(input);
  document.body.append(form);
  return data;
}

// By Uppy, set up as a text says that names `uppy`, `AwsS3`, `API` and `KEY`.
async function byUppy(bundle, setUp, api, key) {
  const { Uppy, AwsS3 } = await import(bundle);
  const uppy = new Uppy();
  new Function('uppy', 'AwsS3', 'API', 'KEY', setUp)(uppy, AwsS3, api, key);
  const file = chosen();
  uppy.addFile({ name: file.name, type: file.type, data: file });
  const { successful, failed } = await uppy.upload();
  return { successful: successful.length, failed: failed.map((one) => String(one.error)) };
}

Object.assign(window, { ask, inParts, makeForm, byUppy });
