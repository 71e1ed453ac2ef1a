// "convex/host": the host's operations, for our own modules only. The resolver refuses it to everybody else, and the
// global that carries it in is gone before the first function module is loaded.

const host = globalThis.__host;
delete globalThis.__host;

export default host;
