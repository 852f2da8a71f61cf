/** As in package.json, which no bundle carries. */
export const version = '0.1.0';
