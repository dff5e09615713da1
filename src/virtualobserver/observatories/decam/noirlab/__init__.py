"""The NOIRLab Astro Data Archive: find exposures, and get their files or single CCDs of them.

Questions are lists of conditions, ``POST /api/adv_search/find/``; files are named by their MD5 sum,
``GET /api/retrieve/<md5>/``. Keys of answers are bare up to version 6 of the interface and carry ``file:`` or ``hdu:``
before them in version 7; a newer one is refused. What is listed is public, files may be not: they need a login,
``VO_DECAM_USERNAME`` (the e-mail address) and ``VO_DECAM_PASSWORD``, or ``VO_DECAM_TOKEN``.

`question` says what is asked, `listing` what is answered, `client` speaks to the archive, and `live` gets from it what
targets need. Never: what is in a file's pixels.
"""
