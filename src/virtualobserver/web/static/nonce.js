"use strict";
// The policy of these pages lets no style sheet in that does not carry this server's nonce. Bokeh makes its own sheets.
{
  const nonce = document.currentScript.dataset.nonce;
  const make = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    const element = make.call(this, name, options);
    if (String(name).toLowerCase() === "style") element.nonce = nonce;
    return element;
  };
}
