/** Vitest looks for other names by itself, and so would the tests of the broker. */
export default { test: { include: ["underVitest.ts"] } };
