# Development image: the packages are in the image, source and data are mounted (docker-compose.yml).
FROM python:3.11-slim-bookworm

# Files written into mounted folders belong to this user: docker compose build --build-arg UID=$(id -u) --build-arg GID=$(id -g)
ARG UID=1000
ARG GID=1000

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/*

# --non-unique: the group or user number may be taken already, for instance by "staff" or by root.
RUN groupadd --non-unique --gid "${GID}" vo \
 && useradd --non-unique --uid "${UID}" --gid vo --create-home --shell /bin/bash vo \
 && mkdir -p /srv/virtualobserver /srv/data /srv/venv \
 && chown -R vo:vo /srv

USER vo
WORKDIR /srv/virtualobserver
# Outside the source folder, which a mount hides.
ENV VENV=/srv/venv \
    PATH=/srv/venv/bin:$PATH \
    VO_DATA=/srv/data \
    PIP_NO_CACHE_DIR=1

COPY --chown=vo:vo pyproject.toml constraints.txt README.md LICENSE Makefile ./
COPY --chown=vo:vo alembic alembic
COPY --chown=vo:vo configs configs
COPY --chown=vo:vo src src
RUN make install
COPY --chown=vo:vo . .

CMD ["vo", "--help"]
