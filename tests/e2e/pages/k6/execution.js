export default {
  scenario: { iterationInTest: 0 },
  test: { abort: (why) => { throw new Error(why); } },
};
