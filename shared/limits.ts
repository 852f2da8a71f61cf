/** Limits, once and named. What a cloud owns carries its source; the rest is ours and says why. */

/** Nesting that any JSON of ours may have. JSON.parse takes 5,000 levels, every recursive walk after it does not. */
export const jsonDepthMax = 64;
/** Object keys and array items in one JSON text of ours. */
export const jsonNodesMax = 200_000;
/** One line of an input file, in bytes without its line end. A pointer's chunk is read whole, so this bounds memory. */
export const lineBytesMax = 4 * 1024 * 1024;
/** Lines of one batch. @source https://platform.openai.com/docs/guides/batch 2026-08 */
export const batchLinesMax = 50_000;
/** Bytes of one batch input file. @source https://platform.openai.com/docs/guides/batch 2026-08 */
export const batchFileBytesMax = 200 * 1024 * 1024;
/** `custom_id`, in UTF-16 code units (OpenAI states no bound; ours keeps lists and logs sane). */
export const customIdLengthMax = 512;
/** Validation errors reported for one file; the rest is counted. */
export const validationErrorsMax = 100;
/** A fact that is parsed whole (manifests, plans, control entries): beyond it a fact is quarantined. */
export const factBytesMax = 16 * 1024 * 1024;
/** One result object: a chunk's outcomes. */
export const resultBytesMax = 64 * 1024 * 1024;
/** One model answer, decoded. Beyond it the line is answered with an error. */
export const answerBytesMax = 8 * 1024 * 1024;
/** Lambda, synchronous request or buffered response. @source https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html 2026-08 */
export const lambdaPayloadBytesMax = 6 * 1024 * 1024;
/** Functions HTTP request body, as host.json raises it. @source https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook 2026-08 */
export const functionsBodyBytesMax = 210 * 1024 * 1024;
