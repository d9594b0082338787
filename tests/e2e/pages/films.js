// What a page of an application does to show a film by its addresses; nothing here knows of tests.

const video = document.querySelector('video');

const happened = (target, name) => new Promise((resolve) => target.once(name, (_, told) => resolve(told)));
const reaches = (seconds) => new Promise((resolve) => {
  video.addEventListener('timeupdate', function look() {
    if (video.currentTime >= seconds) {
      video.removeEventListener('timeupdate', look);
      resolve();
    }
  });
});

// By hls.js, at its lowest level first and at its highest from the second `turn` on; tells what it did and saw.
async function play(bundle, master, turn) {
  const { default: Hls } = await import(bundle);
  const hls = new Hls({ startLevel: 0, maxBufferLength: 600 });
  const told = { levels: [], played: [], begins: {}, errors: [] };
  hls.on(Hls.Events.ERROR, (_, error) => told.errors.push(`${error.details}: ${error.reason}`));
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => told.played.push(hls.levels[level].height));
  hls.on(Hls.Events.BUFFER_APPENDED, (_, { timeRanges }) => {
    for (const [kind, ranges] of Object.entries(timeRanges)) {
      if (ranges?.length) {
        told.begins[kind] ??= ranges.start(0);
      }
    }
  });
  const failed = new Promise((_, reject) => {
    hls.on(Hls.Events.ERROR, (_, error) => error.fatal && reject(new Error(error.details)));
  });
  const parsed = happened(hls, Hls.Events.MANIFEST_PARSED);
  hls.loadSource(master);
  hls.attachMedia(video);
  await Promise.race([failed, parsed]);
  told.levels = hls.levels.map(({ height }) => height);
  hls.currentLevel = 0;
  await Promise.race([failed, video.play().then(() => reaches(turn))]);
  const switched = happened(hls, Hls.Events.LEVEL_SWITCHED);
  hls.currentLevel = hls.levels.length - 1;
  await Promise.race([failed, switched]);
  const ended = new Promise((resolve) => video.addEventListener('ended', resolve, { once: true }));
  video.playbackRate = 4;
  await Promise.race([failed, ended]);
  told.seconds = video.currentTime;
  hls.destroy();
  return told;
}

// The pictures of a storyboard: where each cue begins and ends, and what part of which picture it names.
async function storyboard(address) {
  const track = Object.assign(document.createElement('track'), { kind: 'metadata', src: address });
  const loaded = new Promise((resolve, reject) => {
    track.addEventListener('load', resolve);
    track.addEventListener('error', () => reject(new Error('the storyboard does not load')));
  });
  video.crossOrigin = 'anonymous';
  video.append(track);
  track.track.mode = 'hidden';
  await loaded;
  return [...track.track.cues].map(({ startTime, endTime, text }) => {
    const place = new URL(text, address);
    return { startTime, endTime, picture: place.href.split('#')[0], box: place.hash.slice('#xywh='.length).split(',').map(Number) };
  });
}

// Width and height of a picture whose pixels the page may read.
async function pixels(address) {
  const bitmap = await createImageBitmap(await (await fetch(address)).blob());
  return [bitmap.width, bitmap.height];
}

Object.assign(window, { play, storyboard, pixels });
