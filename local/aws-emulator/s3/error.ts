/** An answer in S3's own words. */
export class S3Error extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = 'S3Error';
    this.status = status;
    this.code = code;
  }
}

/** @source https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (2026-11) */
export const noSuchKey = () => new S3Error(404, 'NoSuchKey', 'The specified key does not exist.');
export const noSuchBucket = () => new S3Error(404, 'NoSuchBucket', 'The specified bucket does not exist');
export const noSuchUpload = () =>
  new S3Error(
    404,
    'NoSuchUpload',
    'The specified multipart upload does not exist. It may have been aborted or completed.',
  );
export const preconditionFailed = () =>
  new S3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');
export const notImplemented = (what: string) =>
  new S3Error(501, 'NotImplemented', `This emulator does not implement ${what}`);
export const invalidArgument = (message: string) => new S3Error(400, 'InvalidArgument', message);
