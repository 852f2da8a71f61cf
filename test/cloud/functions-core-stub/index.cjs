// What the Functions host supplies as `@azure/functions-core`, as far as registering goes: it writes down what it is told.
const registered = [];
exports.registered = registered;
exports.version = '1.0.0';
exports.hostVersion = '4.1000.0';
exports.registerFunction = (metadata) => {
  registered.push(metadata);
  return { dispose() {} };
};
// A host that has it streams HTTP.
exports.log = () => {};
exports.registerHook = () => ({ dispose() {} });
exports.setProgrammingModel = (model) => {
  exports.programmingModel = model;
};
exports.getProgrammingModel = () => exports.programmingModel;
exports.Disposable = class {
  dispose() {}
};
